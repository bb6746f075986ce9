/** Keeps loaded secrets out of the log of pino, as its option `hooks`. */
import type { LeakGuard } from './leak-guard.ts'

/** The part of pino's option `hooks` that is set. */
export interface PinoHooks {
  readonly streamWrite: (line: string) => string
  /** Starts redacting; the log exists before the secrets are loaded. */
  readonly use: (guard: Pick<LeakGuard, 'redact'>) => void
}

/**
 * Makes the hooks: `Fastify({ logger: { hooks } })`, then `hooks.use(app.secrets.leaks)`. Every line, whole, is searched before it is
 * written, also those of child loggers and serializers.
 */
export function createPinoHooks(): PinoHooks {
  const guards: Pick<LeakGuard, 'redact'>[] = []
  return {
    streamWrite: (line) => guards.reduce((text, guard) => guard.redact(text), line),
    use: (guard) => void guards.push(guard),
  }
}
