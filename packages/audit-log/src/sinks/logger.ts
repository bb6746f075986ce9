/** Records as lines of the app's own log. */
import type { AuditSink } from './follower.ts'

/** What is used of a pino logger. */
export interface LoggerLike {
  info(fields: object, message: string): void
}

/** Hands each record to a pino logger, for instance `app.log`, under `audit`. */
export function pinoSink(logger: LoggerLike, name = 'pino'): AuditSink {
  return {
    name,
    async deliver(entries) {
      for (const { index, record } of entries) {
        logger.info({ audit: { index, ...record } }, record.action)
      }
    },
  }
}
