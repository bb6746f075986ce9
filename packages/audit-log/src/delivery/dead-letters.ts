/** Keeps the entries that a sink rejected for good. */
import { appendFile, mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import type { SecurityEvents } from '@parapet/kit'
import type { AuditEntry } from '../log/entries.ts'

/** One NDJSON file per sink, in the folder `dead-letters`. */
export class DeadLetters {
  readonly #folder: string
  readonly #events: SecurityEvents

  constructor(folder: string, events: SecurityEvents) {
    this.#folder = join(folder, 'dead-letters')
    this.#events = events
  }

  async add(sink: string, { index, leaf }: AuditEntry, reason: string): Promise<void> {
    await mkdir(this.#folder, { recursive: true, mode: 0o700 })
    const line = `${JSON.stringify({ index, reason, leaf })}\n`
    await appendFile(join(this.#folder, `${sink}.ndjson`), line, { mode: 0o600 })
    this.#events.emit('audit_log.entry_rejected', { details: { sink, index, reason } })
  }
}
