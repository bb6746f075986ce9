/** Actions whose effects are rows, so that a test sees how often each has happened. */
import type { Action } from '@parapet/incident-response'
import type { SqlClient } from '@parapet/kit'

/** The effects of one test. */
export interface Effects {
  /** An action that stores its key with its effect: a second call changes nothing. */
  readonly repeatable: (name: string) => Action
  /** An action that cannot be repeated. */
  readonly once: (name: string) => Action
  /** The keys, each with how often it was called. */
  readonly calls: () => Promise<ReadonlyMap<string, number>>
}

/** Creates the table. */
export async function createEffects(sql: SqlClient): Promise<Effects> {
  await sql.query('CREATE TABLE IF NOT EXISTS effects (key text NOT NULL, name text NOT NULL)')
  await sql.query('DELETE FROM effects')
  const insert = (key: string, name: string, where = '') =>
    sql.query(`INSERT INTO effects SELECT $1, $2 ${where}`, [key, name])
  return {
    repeatable: (name) => ({
      isRepeatable: true,
      run: async ({ key }) => {
        await insert(key, name, 'WHERE NOT EXISTS (SELECT 1 FROM effects WHERE key = $1)')
        return { summary: name }
      },
    }),
    once: (name) => ({
      run: async ({ key }) => {
        await insert(key, name)
        return { summary: name }
      },
      undo: async ({ key }) => {
        await insert(key, name, 'WHERE NOT EXISTS (SELECT 1 FROM effects WHERE key = $1)')
      },
    }),
    async calls() {
      const { rows } = await sql.query<{ key: string; count: number }>(
        'SELECT key, count(*)::int AS count FROM effects GROUP BY key',
      )
      return new Map(rows.map(({ key, count }) => [key, count]))
    },
  }
}
