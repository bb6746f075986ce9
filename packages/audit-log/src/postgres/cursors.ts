/** The positions of the sinks, and the leases of who may move them. */
import type { SqlQueryable } from '@parapet/kit'
import type { Cursor } from '../log/log-store.ts'
import type { WriterKey } from '../trust/writer-key.ts'

/** The lease of the sequencer; no sink may have this name. */
export const SEQUENCER = ':sequencer'

/** Leases a cursor; a lease that is longer than any process takes is not genuine. */
export async function claimCursor(
  sql: SqlQueryable,
  writerKey: WriterKey,
  name: string,
  holder: string,
  ttlMs: number,
): Promise<Cursor | null> {
  const { rows } = await sql.query<{ place: string; mac: string | null }>(
    `INSERT INTO audit_log_cursors AS c (name, holder, lease_until)
     VALUES ($1, $2, now() + $3::float8 * interval '1 millisecond')
     ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, lease_until = excluded.lease_until
       WHERE c.lease_until < now() OR c.holder = excluded.holder
         OR c.lease_until > excluded.lease_until + interval '1 minute'
     RETURNING position::text AS place, mac`,
    [name, holder, ttlMs],
  )
  const row = rows[0]
  if (row === undefined) return null
  const position = Number(row.place)
  const isGenuine = position === 0 || writerKey.isMac('cursor', textOf(name, row.place), row.mac)
  return { position, isGenuine }
}

/** Moves a cursor. @returns whether the holder still had the lease. */
export async function moveCursor(
  sql: SqlQueryable,
  writerKey: WriterKey,
  name: string,
  holder: string,
  position: number,
): Promise<boolean> {
  const { rowCount } = await sql.query(
    'UPDATE audit_log_cursors SET position = $3, mac = $4 WHERE name = $1 AND holder = $2',
    [name, holder, position, writerKey.macOf('cursor', textOf(name, String(position)))],
  )
  return rowCount === 1
}

/** Ends a lease early. */
export async function endLease(sql: SqlQueryable, name: string, holder: string): Promise<void> {
  await sql.query(
    `UPDATE audit_log_cursors SET lease_until = 'epoch' WHERE name = $1 AND holder = $2`,
    [name, holder],
  )
}

/** The text that the MAC of a position covers. */
function textOf(name: string, position: string): string {
  return `${name}\n${position}`
}
