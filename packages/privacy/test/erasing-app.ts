/** An app with five tables of PostgreSQL as its sources; the third one fails three times. */
import type { Clock, Jobs, SqlClient } from '@parapet/kit'
import { privacy, type PrivacySource } from '@parapet/privacy'
import Fastify, { type FastifyInstance } from 'fastify'
import { CONTROLLER, SECRET } from './helpers.ts'

export const NOW = Date.UTC(2026, 0, 31, 12)
export const sourceNames = ['a', 'b', 'c', 'd', 'e'] as const
/** How often the source `c` fails before it erases. */
export const FAILURES = 3

/** The key of all processes. */
const KEYS = `1:${Buffer.alloc(32, 3).toString('base64url')}`

/** What the app needs. */
interface ErasingApp {
  /** Where the tables of the sources are. */
  readonly data: SqlClient
  /** Where the plugin stores its records. */
  readonly records: SqlClient
  readonly clock: Clock
  readonly jobs: Jobs
}

/** Creates the tables of the sources, each with a row of the subject and one of another person. */
export async function createTables(sql: SqlClient): Promise<void> {
  await sql.transaction(async (inner) => {
    await inner.script('CREATE TABLE erasures (name text NOT NULL, key text NOT NULL)')
    await inner.script('CREATE TABLE failures (name text NOT NULL)')
    for (const name of sourceNames) {
      await inner.script(
        `CREATE TABLE table_${name} (subject text NOT NULL, email text, note text)`,
      )
    }
  })
}

/** Fills the tables anew. */
export async function fillTables(sql: SqlClient): Promise<void> {
  await sql.query('DELETE FROM erasures')
  await sql.query('DELETE FROM failures')
  for (const name of sourceNames) {
    await sql.query(`DELETE FROM table_${name}`)
    await sql.query(
      `INSERT INTO table_${name} VALUES ('ann', 'ann@acme.example', 'n'), ('bob', 'bob@acme.example', 'n')`,
    )
  }
}

function createSource(sql: SqlClient, name: (typeof sourceNames)[number]): PrivacySource {
  return {
    name,
    purpose: `Keeping ${name}`,
    legalBasis: 'contract',
    categories: ['user.contact.email'],
    retentionDays: null,
    storedIn: `table_${name}`,
    fields: { email: 'anonymise-email', note: 'delete' },
    collect: () => [],
    async erase(subject, { key, fields }) {
      if (name === 'c') {
        const { rows } = await sql.query<{ n: number }>('SELECT count(*)::int AS n FROM failures')
        if (rows[0]!.n < FAILURES) {
          await sql.query('INSERT INTO failures VALUES ($1)', [name])
          throw new Error('away')
        }
      }
      // With its key, so that a test sees that every attempt had the same plan.
      await sql.transaction(async (inner) => {
        await inner.query(`UPDATE table_${name} SET email = $2, note = NULL WHERE subject = $1`, [
          subject,
          fields['email']!.value,
        ])
        await inner.query('INSERT INTO erasures VALUES ($1, $2)', [name, key])
      })
    },
    async verifyErased(subject) {
      const { rows } = await sql.query<{ n: number }>(
        `SELECT count(*)::int AS n FROM table_${name} WHERE subject = $1 AND note IS NOT NULL`,
        [subject],
      )
      return { remaining: rows[0]!.n }
    },
  }
}

/** Creates the app; the caller closes it, and the jobs. */
export async function createErasingApp(parts: ErasingApp): Promise<FastifyInstance> {
  const { data, records, clock, jobs } = parts
  const app = Fastify()
  await app.register(privacy, {
    controller: CONTROLLER,
    secret: SECRET,
    keys: KEYS,
    clock,
    jobs,
    sql: records,
    sources: sourceNames.map((name) => createSource(data, name)),
    deliver: async () => undefined,
  })
  return app
}
