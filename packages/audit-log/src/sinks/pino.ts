/** A sink for the app's own logger. */
import { escapeValue } from '../formats/controls.ts'
import type { AuditSink } from '../log/sink.ts'

/** What the sink uses of a pino logger. */
export interface LoggerLike {
  info(fields: object, message: string): void
}

/** Logs each record with a pino logger, for example `app.log`, under the key `audit`. */
export function pinoSink(logger: LoggerLike, name = 'pino'): AuditSink {
  return {
    name,
    async deliver(entries) {
      for (const { index, record } of entries) {
        // A console shows what the log holds, and obeys none of it.
        logger.info({ audit: { index, ...(escapeValue(record) as object) } }, record.action)
      }
    },
  }
}
