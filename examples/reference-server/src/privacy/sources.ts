/** The sources of personal data of this service, in the order in which an erasure visits them. */
import type { PrivacySource, SourceRecord } from '@parapet/privacy'
import type { FastifyInstance } from 'fastify'
import { requireOtherAdmin } from '../access/administrators.ts'
import type { Config } from '../config/environment.ts'
import { bookingsSource, filesSource, settingsSource, sharingSource } from './domain-sources.ts'
import { auditSource, incidentsSource, mailSource } from './trace-sources.ts'

/** Creates the sources. What signs a user in goes first, so that nobody writes while the rest is erased. */
export function createSources(
  app: FastifyInstance,
  { filesDir, outboxDir }: Pick<Config, 'filesDir' | 'outboxDir'>,
  isAuditSealed: boolean,
): PrivacySource[] {
  return [
    sessionsSource(app),
    factorsSource(app),
    contentSource(app),
    sharingSource(app),
    bookingsSource(app),
    filesSource(app, filesDir),
    settingsSource(app),
    auditSource(app, isAuditSealed),
    incidentsSource(app),
    mailSource(outboxDir),
    usersSource(app),
  ]
}

function sessionsSource(app: FastifyInstance): PrivacySource {
  return {
    name: 'sessions',
    purpose: 'Keeping users signed in',
    legalBasis: 'contract',
    categories: ['user.device', 'user.device.ip_address'],
    retentionDays: null,
    storedIn: 'shared store (Redis or memory); API keys, locks and former addresses in PostgreSQL',
    encrypted: true,
    fields: { session: 'delete', device: 'delete', apiKey: 'delete', formerEmail: 'delete' },
    async *collect(subject): AsyncIterable<SourceRecord> {
      for (const session of await app.sessions.list(subject)) yield toRecord(session)
    },
    // Revokes the API keys, too; refresh tokens are stored as hashes only.
    erase: (subject) => app.sessions.forgetUser(subject),
    verifyErased: async (subject) => ({ remaining: (await app.sessions.list(subject)).length }),
  }
}

function factorsSource(app: FastifyInstance): PrivacySource {
  return {
    name: 'second-factors',
    purpose: 'Proving who logs in',
    legalBasis: 'contract',
    categories: ['user.authorization.biometric', 'user.authorization.credentials'],
    retentionDays: null,
    storedIn: 'PostgreSQL: mfa_accounts',
    encrypted: true,
    fields: { factors: 'delete', backupCodes: 'delete', rememberedDevices: 'delete' },
    async *collect(subject): AsyncIterable<SourceRecord> {
      // It says which factors there are, and shows no secret.
      yield toRecord(await app.mfa.status(subject))
    },
    erase: (subject) => app.mfa.forget(subject),
    async verifyErased(subject) {
      return { remaining: Number((await app.mfa.status(subject)).enrolled) }
    },
  }
}

function contentSource(app: FastifyInstance): PrivacySource {
  const count = 'SELECT count(*)::int AS n FROM content WHERE author_id::text = $1'
  return {
    name: 'content',
    purpose: 'Publishing texts of users',
    legalBasis: 'contract',
    categories: ['user.content.public'],
    retentionDays: null,
    storedIn: 'PostgreSQL: content',
    fields: { title: 'delete', body: 'delete' },
    async *collect(subject, { after = '' }): AsyncIterable<SourceRecord> {
      const text = `SELECT id::text AS id, title, body, status, created_at::text AS "createdAt"
        FROM content WHERE author_id::text = $1 AND id::text > $2 ORDER BY id::text LIMIT 100`
      let last = after
      for (;;) {
        const { rows } = await app.sql.query<SourceRecord & { id: string }>(text, [subject, last])
        yield* rows
        if (rows.length < 100) return
        last = rows.at(-1)!.id
      }
    },
    cursorOf: ({ id }) => id as string,
    async erase(subject) {
      await app.sql.transaction(async (sql) => {
        await sql.query(
          `DELETE FROM rbac_relations WHERE object_type = 'content'
              AND object_id IN (SELECT id::text FROM content WHERE author_id::text = $1)`,
          [subject],
        )
        await sql.query('DELETE FROM content WHERE author_id::text = $1', [subject])
      })
    },
    async verifyErased(subject) {
      const { rows } = await app.sql.query<{ n: number }>(count, [subject])
      return { remaining: rows[0]!.n }
    },
  }
}

function usersSource(app: FastifyInstance): PrivacySource {
  return {
    name: 'users',
    purpose: 'Accounts',
    legalBasis: 'contract',
    categories: ['user.contact.email', 'user.name', 'user.authorization.credentials'],
    retentionDays: null,
    storedIn: 'PostgreSQL: users',
    fields: { email: 'anonymise-email', displayName: 'anonymise-text', passwordHash: 'delete' },
    async *collect(subject): AsyncIterable<SourceRecord> {
      const { rows } = await app.sql.query<SourceRecord>(
        `SELECT id::text AS id, email, display_name AS "displayName", roles,
                created_at::text AS "createdAt", updated_at::text AS "updatedAt"
           FROM users WHERE id::text = $1`,
        [subject],
      )
      yield* rows
    },
    // Anonymised in place: rows that refer to the user stay valid until the removal.
    async erase(subject, { fields }) {
      await app.sql.transaction(async (sql) => {
        await requireOtherAdmin(sql, subject)
        await sql.query(
          `UPDATE users SET email = $2, display_name = $3, password_hash = NULL, roles = '{viewer}',
                  version = version + 1, updated_at = now()
            WHERE id::text = $1 AND email <> $2`,
          [subject, fields['email']!.value, fields['displayName']!.value],
        )
      })
    },
    async verifyErased(subject, { fields }) {
      const { rows } = await app.sql.query<{ n: number }>(
        `SELECT count(*)::int AS n FROM users
          WHERE id::text = $1 AND (email <> $2 OR password_hash IS NOT NULL)`,
        [subject, fields['email']!.value],
      )
      return { remaining: rows[0]!.n }
    },
    async remove(subject) {
      await app.sql.query('DELETE FROM users WHERE id::text = $1', [subject])
    },
    async rectify(subject, { displayName, ...others }) {
      // An address is changed by its own route, because it is a name for the login.
      if (displayName === undefined || Object.keys(others).length > 0) throw new NotCorrectedError()
      const text = `UPDATE users SET display_name = $2, version = version + 1, updated_at = now()
                     WHERE id::text = $1`
      await app.sql.query(text, [subject, displayName])
    },
    async *subjects(): AsyncIterable<string> {
      let last = ''
      for (;;) {
        const { rows } = await app.sql.query<{ id: string }>(
          'SELECT id::text AS id FROM users WHERE id::text > $1 ORDER BY id::text LIMIT 1000',
          [last],
        )
        for (const { id } of rows) yield id
        if (rows.length < 1000) return
        last = rows.at(-1)!.id
      }
    },
  }
}

class NotCorrectedError extends Error {
  readonly code = 'USE_THE_ROUTE_OF_THE_ACCOUNT'
}

/** Times and the like as JSON has them. */
function toRecord(value: object): SourceRecord {
  return JSON.parse(JSON.stringify(value)) as SourceRecord
}
