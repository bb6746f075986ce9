/**
 * Holes in the numbers of a writer: rows that the inbox lost, for example in a failover. The writer
 * still has them in its spool and ships them again; until then, later numbers wait, because the
 * numbers of a writer enter the log in order.
 */
import type { InboxRecord } from '../log/log-store.ts'
import { parseLeaf } from '../record/leaf.ts'

/** The writer may have no such record any more: its disk failed, or its process does not run. */
const MAX_WAIT_MS = 30_000
const MAX_WRITERS = 10_000

interface Hole {
  /** The first missing number. */
  readonly at: number
  /** When it was first seen, in milliseconds. */
  readonly since: number
}

/** Remembers since when a number is missing. */
export class Holes {
  readonly #byWriter = new Map<string, Hole>()

  /** The writers with a hole, and the first missing number of each. */
  find(rows: readonly InboxRecord[], marks: ReadonlyMap<string, number>): Map<string, number> {
    const next = new Map(marks)
    const found = new Map<string, number>()
    for (const { writer, seq, refusal } of rows) {
      if (seq === null || refusal !== undefined || found.has(writer)) continue
      const expected = next.get(writer) ?? 0
      if (seq > expected) found.set(writer, expected)
      else if (seq === expected) next.set(writer, seq + 1)
    }
    return found
  }

  /**
   * The rows that may enter the log now.
   *
   * @param urgentFor writers that have just shipped all they have again.
   */
  hold<Row extends InboxRecord>(
    rows: readonly Row[],
    marks: ReadonlyMap<string, number>,
    now: number,
    urgentFor: ReadonlySet<string> = new Set(),
  ): Row[] {
    const found = this.find(rows, marks)
    for (const writer of marks.keys()) if (!found.has(writer)) this.#byWriter.delete(writer)
    for (const [writer, at] of found) {
      const known = this.#byWriter.get(writer)
      if (urgentFor.has(writer)) found.delete(writer)
      else if (known?.at !== at) this.#remember(writer, { at, since: now })
      else if (now - known.since >= MAX_WAIT_MS) found.delete(writer)
    }
    holdSuccessors(rows, found)
    return rows.filter(({ writer, seq, refusal }) => {
      const at = refusal === undefined ? found.get(writer) : undefined
      return at === undefined || seq === null || seq < at
    })
  }

  #remember(writer: string, hole: Hole): void {
    this.#byWriter.set(writer, hole)
    if (this.#byWriter.size > MAX_WRITERS)
      this.#byWriter.delete(this.#byWriter.keys().next().value!)
  }
}

/**
 * The first record of a writer names the last one of the writer before it, so that it must not enter
 * the log earlier: a verifier would miss what is still held.
 */
function holdSuccessors(rows: readonly InboxRecord[], held: Map<string, number>): void {
  if (held.size === 0) return
  for (const { writer, seq, leaf, refusal } of rows) {
    if (seq !== 0 || refusal !== undefined) continue
    const data = parseLeaf(leaf)?.data as { readonly previous?: unknown } | undefined
    const { previous } = data ?? {}
    if (typeof previous === 'string' && held.has(previous)) held.set(writer, 0)
  }
}
