/** Keeps the entries that a sink rejected for good. */
import { appendFile, mkdir, rename, stat } from 'node:fs/promises'
import { join } from 'node:path'
import type { SecurityEvents } from '@parapet/kit'
import type { AuditEntry } from '../log/entries.ts'

const MAX_BYTES = 64 * 1024 * 1024

/** One NDJSON file per sink, in the folder `dead-letters`. */
export class DeadLetters {
  readonly #folder: string
  readonly #events: SecurityEvents

  constructor(folder: string, events: SecurityEvents) {
    this.#folder = join(folder, 'dead-letters')
    this.#events = events
  }

  async add(sink: string, { index, leaf }: AuditEntry, reason: string): Promise<void> {
    await this.#append(sink, { index, reason, leaf })
    this.#events.emit('audit_log.entry_rejected', { details: { sink, index, reason } })
  }

  /** Notes that some of these entries were rejected, and the receiver did not say which. */
  async addSome(sink: string, entries: readonly AuditEntry[], problem: string): Promise<void> {
    const [from, to] = [entries[0]!.index, entries.at(-1)!.index]
    const reason = `of the entries ${from} to ${to}: ${problem}`
    await this.#append(sink, { from, to, reason })
    this.#events.emit('audit_log.entry_rejected', { details: { sink, index: from, reason } })
  }

  async #append(sink: string, letter: object): Promise<void> {
    await mkdir(this.#folder, { recursive: true, mode: 0o700 })
    const path = join(this.#folder, `${sink}.ndjson`)
    await this.#rotate(path)
    await appendFile(path, `${JSON.stringify(letter)}\n`, { mode: 0o600 })
  }

  /** Keeps two files: the entries are in the log as well. */
  async #rotate(path: string): Promise<void> {
    const bytes = await stat(path).then(
      ({ size }) => size,
      () => 0,
    )
    if (bytes >= MAX_BYTES) await rename(path, `${path}.1`)
  }
}
