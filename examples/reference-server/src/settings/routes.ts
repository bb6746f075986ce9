/** `/settings`: how the own account likes to see the service. */
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import type { SqlQueryable } from '@parapet/kit'
import { Type, type Static } from '@sinclair/typebox'
import type { FastifyRequest } from 'fastify'
import { PARAPET_REFERENCE_NOT_FOUND } from '../errors.ts'
import { changesOf, closedObject, problems, refTo } from '../http/schemas.ts'
import { recordChange } from '../logging/record-change.ts'
import { actingAs } from '../storage/row-security.ts'
import { createTable } from '../storage/table.ts'

const members = {
  locale: Type.String({
    pattern: '^[a-z]{2,3}(?:-[A-Za-z0-9]{2,8}){0,3}$',
    maxLength: 35,
    description: 'A language tag such as `pt-BR`',
  }),
  timeZone: Type.String({
    pattern: '^[A-Za-z][A-Za-z0-9_+/-]*$',
    maxLength: 64,
    description: 'A name of the time zone database such as `Europe/Berlin`',
  }),
  theme: Type.Unsafe<'light' | 'dark' | 'system'>(
    Type.String({ enum: ['light', 'dark', 'system'] }),
  ),
  newsletter: Type.Boolean({ description: 'Whether news may be sent; false by default' }),
}

/** How a person likes the service is personal, and no erasure reaches the audit log. */
const hidden = Object.keys(members)

/** The settings of an account. */
const Settings = closedObject(members, { $id: 'Settings' })
type Settings = Static<typeof Settings>

const tags = ['settings']
const own = { rbac: { authenticated: 'own settings only' } } as const
const reading = {
  schema: {
    operationId: 'getSettings',
    summary: 'Read the own settings',
    tags,
    response: { 200: refTo(Settings), ...problems },
  },
  config: own,
} as const
const resourceId = ({ principal }: FastifyRequest): string | undefined => principal?.id
const change = {
  schema: {
    operationId: 'changeSettings',
    summary: 'Change some of the own settings',
    tags,
    body: changesOf(closedObject(members)),
    response: { 200: refTo(Settings), ...problems },
  },
  config: { audit: { action: 'settings.update', resourceId }, ...own },
} as const

const table = (sql: SqlQueryable) =>
  createTable<Settings>(sql, {
    name: 'settings',
    columns: {
      locale: 'locale',
      timeZone: 'time_zone',
      theme: 'theme',
      newsletter: 'newsletter',
    },
    conflicts: { '23503': PARAPET_REFERENCE_NOT_FOUND },
  })

/** The row of an account, which is created when it is first needed. */
async function lockOwn(sql: SqlQueryable, id: string): Promise<Settings> {
  try {
    await sql.query('INSERT INTO settings (id) VALUES ($1) ON CONFLICT DO NOTHING', [id])
  } catch (error) {
    // The account of a session that still runs was deleted.
    if ((error as { readonly code?: string }).code === '23503')
      throw new PARAPET_REFERENCE_NOT_FOUND()
    throw error
  }
  return settingsOf(await table(sql).lock(id))
}

function settingsOf({ locale, timeZone, theme, newsletter }: Settings): Settings {
  return { locale, timeZone, theme, newsletter }
}

/** The routes of the own settings. */
export const settings: FastifyPluginAsyncTypebox = async (app) => {
  app.addSchema(Settings)

  app.get('', reading, ({ principal }) =>
    actingAs(app.sql, principal, (sql) => lockOwn(sql, principal!.id)),
  )

  app.patch('', change, async (request) => {
    const { id } = request.principal!
    const changed = { action: 'settings.update', resource: 'settings', id, hidden }
    return recordChange(app.sql, request, changed, async (sql) => {
      const before = await lockOwn(sql, id)
      return { before, after: settingsOf(await table(sql).update(id, request.body, null)) }
    })
  })
}
