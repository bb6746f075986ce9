/** `/export`: whole tables as lines of JSON. Mass export is limited, watched and recorded. */
import { Readable } from 'node:stream'
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { downloadHeaders } from '@parapet/input-guard'
import { Type } from '@sinclair/typebox'
import type { FastifyInstance } from 'fastify'
import { freshFactor } from '../access/fresh-factor.ts'
import { createArtists } from '../artists/repository.ts'
import { createBookings } from '../bookings/repository.ts'
import { createContent } from '../content/repository.ts'
import { closedObject, fileOf, problems } from '../http/schemas.ts'
import type { Table } from '../storage/table.ts'
import { createUsers } from '../users/repository.ts'
import { createVenues } from '../venues/repository.ts'
import { linesOf } from './lines.ts'

const names = ['artists', 'bookings', 'content', 'users', 'venues'] as const
type Name = (typeof names)[number]

const MEDIA_TYPE = 'application/x-ndjson'

/** One exported row a line. */
const exportRoute = {
  schema: {
    operationId: 'exportRows',
    summary: 'Export all rows of a resource, one JSON object a line',
    tags: ['export'],
    params: closedObject({
      resource: Type.Unsafe<Name>(Type.String({ enum: [...names] })),
    }),
    response: {
      200: fileOf(MEDIA_TYPE, 'Lines of JSON, the oldest row first'),
      ...problems,
    },
  },
  config: {
    rbac: 'data:export',
    audit: { action: 'data.export', phases: 'attempt+outcome' },
    anomaly: { tag: 'export' },
    // Everything at once is worth a fresh proof.
    mfa: freshFactor,
  },
} as const

function tablesOf({ sql, fieldEncryption, log }: FastifyInstance, isKeysetSaved: boolean) {
  return {
    artists: createArtists({ sql, fieldEncryption, isKeysetSaved, log }),
    bookings: createBookings({ sql, fieldEncryption, log }),
    content: createContent(sql),
    users: createUsers(sql),
    venues: createVenues(sql),
  } satisfies Readonly<Record<Name, Pick<Table<object>, 'list'>>>
}

/** The options of the plugin. */
export interface ExportOptions {
  readonly isKeysetSaved: boolean
}

/** The route of exports. */
export const dataExport: FastifyPluginAsyncTypebox<ExportOptions> = async (
  app,
  { isKeysetSaved },
) => {
  const tables = tablesOf(app, isKeysetSaved)
  app.get('/:resource', exportRoute, async ({ params: { resource } }, reply) =>
    reply
      .headers(downloadHeaders(`${resource}.ndjson`, MEDIA_TYPE))
      .send(Readable.from(linesOf(tables[resource]), { objectMode: false })),
  )
}
