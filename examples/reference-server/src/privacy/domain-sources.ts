/** The sources of what users do in the service: bookings, files, settings and what is shared with them. */
import type { PrivacySource, SourceRecord } from '@parapet/privacy'
import type { FastifyInstance } from 'fastify'
import { createBookings } from '../bookings/repository.ts'
import { contentName, createContents } from '../files/contents.ts'
import { createFileTable } from '../files/repository.ts'
import { encodeCursor } from '../storage/cursor.ts'
import type { Condition, Table } from '../storage/table.ts'

const common = { legalBasis: 'contract', retentionDays: null } as const

/** The booking stays in the calendar of the artist and the venue, without the user and the note. */
export function bookingsSource(app: FastifyInstance): PrivacySource {
  return {
    ...common,
    name: 'bookings',
    purpose: 'Booking artists',
    categories: ['user.behavior.purchase_history', 'user.content.private'],
    storedIn: 'PostgreSQL: bookings',
    encrypted: true,
    fields: { userId: 'delete', note: 'delete' },
    collect: (subject, { after }) => readAll(createBookings(app), owned('user_id', subject), after),
    cursorOf: ({ id }) => id as string,
    async erase(subject) {
      await app.sql.query(
        `UPDATE bookings SET user_id = NULL, note = NULL, version = version + 1, updated_at = now()
          WHERE user_id::text = $1`,
        [subject],
      )
    },
    verifyErased: (subject) => count(app, 'bookings WHERE user_id::text = $1', subject),
  }
}

/** @param folder where the contents of files are. */
export function filesSource(app: FastifyInstance, folder: string): PrivacySource {
  return {
    ...common,
    name: 'files',
    purpose: 'Storing files of users',
    categories: ['user.content.private'],
    storedIn: 'PostgreSQL: files; contents in FILES_DIR',
    encrypted: true,
    fields: { name: 'delete', content: 'delete' },
    // The contents are downloaded by the routes of files.
    collect: (subject, { after }) =>
      readAll(createFileTable(app), owned('owner_id', subject), after),
    cursorOf: ({ id }) => id as string,
    async erase(subject) {
      const contents = createContents(app.fieldEncryption, folder)
      const { rows } = await app.sql.query<{ id: string; folder: string }>(
        'SELECT id::text AS id, folder FROM files WHERE owner_id::text = $1 ORDER BY id',
        [subject],
      )
      for (const file of rows) {
        // Before the row, so that a crash leaves no content that nothing names.
        await contents.delete(contentName(file))
        await app.sql.query('DELETE FROM files WHERE id::text = $1', [file.id])
      }
    },
    verifyErased: (subject) => count(app, 'files WHERE owner_id::text = $1', subject),
  }
}

export function settingsSource(app: FastifyInstance): PrivacySource {
  return {
    ...common,
    name: 'settings',
    purpose: 'Showing the service as the user likes it',
    categories: ['user.behavior'],
    storedIn: 'PostgreSQL: settings',
    fields: { locale: 'delete', timeZone: 'delete', theme: 'delete', newsletter: 'delete' },
    async *collect(subject): AsyncIterable<SourceRecord> {
      const text = `SELECT locale, time_zone AS "timeZone", theme, newsletter FROM settings
                     WHERE id::text = $1`
      yield* (await app.sql.query<SourceRecord>(text, [subject])).rows
    },
    async erase(subject) {
      await app.sql.query('DELETE FROM settings WHERE id::text = $1', [subject])
    },
    verifyErased: (subject) => count(app, 'settings WHERE id::text = $1', subject),
  }
}

/** Content that others have shared with the user. */
export function sharingSource(app: FastifyInstance): PrivacySource {
  const ofUser = `rbac_relations WHERE subject_type = 'user' AND subject_id = $1`
  return {
    ...common,
    name: 'sharing',
    purpose: 'Sharing drafts with reviewers',
    categories: ['user.content.private'],
    storedIn: 'PostgreSQL: rbac_relations',
    fields: { relation: 'delete' },
    async *collect(subject): AsyncIterable<SourceRecord> {
      const text = `SELECT object_type AS "type", object_id AS "id", relation FROM ${ofUser} ORDER BY 1, 2, 3`
      yield* (await app.sql.query<SourceRecord>(text, [subject])).rows
    },
    async erase(subject) {
      await app.sql.query(`DELETE FROM ${ofUser}`, [subject])
    },
    verifyErased: (subject) => count(app, ofUser, subject),
  }
}

const owned =
  (column: string, subject: string): Condition =>
  (first) => ({ text: `${column}::text = $${first}`, values: [subject] })

/** @param after the id of the last record that is stored already. */
async function* readAll<Values>(
  table: Table<Values>,
  where: Condition,
  after: string | undefined,
): AsyncIterable<SourceRecord> {
  let cursor = after === undefined ? undefined : encodeCursor(after)
  do {
    const page = await table.list({ limit: 100, ...(cursor !== undefined && { cursor }) }, where)
    yield* page.items as unknown as readonly SourceRecord[]
    cursor = page.nextCursor
  } while (cursor !== undefined)
}

async function count(app: FastifyInstance, from: string, subject: string) {
  const text = `SELECT count(*)::int AS n FROM ${from}`
  return { remaining: (await app.sql.query<{ n: number }>(text, [subject])).rows[0]!.n }
}
