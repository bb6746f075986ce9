/** The next number of each writer, from its last entry in the signed log. */
import type { SqlQueryable } from '@parapet/kit'
import { PARAPET_AUDIT_LOG_CORRUPT } from '../errors.ts'
import type { InboxRecord, Integration, LogState } from '../log/log-store.ts'
import { inclusionProof, verifyInclusion } from '../log/merkle-proofs.ts'
import { HASH_BYTES, leafHash } from '../log/merkle-tree.ts'
import { subtreesOf } from '../log/tiles.ts'
import { parseLeaf } from '../record/leaf.ts'

const MAX_KEPT = 10_000

/**
 * A table of numbers could be edited, and acknowledged records would then pass for repetitions. An
 * entry that is not in the tree stops the sequencer.
 */
export class WriterMarks {
  readonly #kept = new Map<string, number>()
  /** The root of the state that {@link #kept} belongs to. */
  #root = ''

  /** @throws PARAPET_AUDIT_LOG_CORRUPT the last entry of a writer is not in the tree. */
  async of(
    sql: SqlQueryable,
    state: LogState,
    inbox: readonly InboxRecord[],
  ): Promise<Map<string, number>> {
    const root = state.root.toString('base64')
    // Another process has sequenced in the meantime.
    if (this.#root !== root) this.#kept.clear()
    this.#root = root
    const writers = new Set(inbox.flatMap(({ writer, seq }) => (seq === null ? [] : writer)))
    const unknown = [...writers].filter((writer) => !this.#kept.has(writer))
    if (unknown.length > 0) await this.#read(sql, state, unknown)
    return new Map([...writers].map((writer) => [writer, this.#kept.get(writer) ?? 0]))
  }

  /** Keeps the numbers after a step that was committed. */
  keep({ next, writers }: Integration): void {
    this.#root = next.root.toString('base64')
    for (const [writer, number] of writers) this.#set(writer, number)
  }

  async #read(sql: SqlQueryable, state: LogState, writers: readonly string[]): Promise<void> {
    const { rows } = await sql.query<{ writer: string; place: string; leaf: string }>(
      `SELECT w.writer, e.index::text AS place, e.leaf
       FROM unnest($1::text[]) AS w (writer) CROSS JOIN LATERAL (
         SELECT index, leaf FROM audit_log_events AS of_writer
         WHERE of_writer.writer = w.writer AND of_writer.index < $2
         ORDER BY of_writer.index DESC LIMIT 1) AS e`,
      [writers, state.size],
    )
    const read = subtreesOf((level, index) => readTile(sql, level, index), state.size)
    for (const writer of writers) this.#set(writer, 0)
    for (const { writer, place, leaf } of rows) {
      const record = parseLeaf(leaf)
      const index = Number(place)
      const proof = await inclusionProof(read, index, state.size)
      const isLogged = verifyInclusion(
        leafHash(Buffer.from(leaf)),
        index,
        state.size,
        proof,
        state.root,
      )
      if (!isLogged || record?.writer !== writer || record.seq === undefined) {
        throw new PARAPET_AUDIT_LOG_CORRUPT(`the entry ${index} was edited`)
      }
      this.#set(writer, record.seq + 1)
    }
  }

  #set(writer: string, number: number): void {
    this.#kept.delete(writer)
    this.#kept.set(writer, number)
    if (this.#kept.size > MAX_KEPT) this.#kept.delete(this.#kept.keys().next().value!)
  }
}

async function readTile(sql: SqlQueryable, level: number, index: number): Promise<Uint8Array> {
  const { rows } = await sql.query<{ hashes: Uint8Array }>(
    'SELECT hashes FROM audit_log_tiles WHERE level = $1 AND index = $2',
    [level, index],
  )
  const hashes = rows[0]?.hashes
  if (hashes === undefined || hashes.length < HASH_BYTES) {
    throw new PARAPET_AUDIT_LOG_CORRUPT(`the tile ${index} of level ${level} is missing`)
  }
  return hashes
}
