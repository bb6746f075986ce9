/** What the plugin logs at the boot. */
import { readFastifyInternal } from '@parapet/kit'
import type { FastifyInstance } from 'fastify'
import type { DoctorCheck } from '../health/doctor.ts'

/** Warns of hooks that run before the plugin sees a request: what they refuse is not recorded. */
export function warnOfEarlierHooks(app: FastifyInstance): void {
  const hooks = readFastifyInternal(app, 'fastify.hooks') as
    | { readonly onRequest?: readonly unknown[] }
    | undefined
  const count = hooks?.onRequest?.length ?? 0
  if (count === 0) return
  app.log.warn(
    { hooks: count },
    `audit-log was registered after ${count} onRequest hook(s); requests that these refuse are not recorded. Register audit-log before all other plugins and hooks.`,
  )
}

/** Warns where the plugin sees only the routes of a child context. */
export function warnOfChildContext(app: FastifyInstance): void {
  // Fastify makes the instance of a child context with its parent as the prototype.
  if (!('addHook' in (Object.getPrototypeOf(app) as object))) return
  app.log.warn(
    'audit-log was registered in a child context; "config.audit" of routes outside it is ignored. Register audit-log on the root instance.',
  )
}

/** Logs the public key, so that a verifier can be given it, and the failed checks. */
export function announce(
  app: FastifyInstance,
  verifierKey: string,
  checks: readonly DoctorCheck[],
): void {
  app.log.info({ verifierKey }, 'audit-log is verified with: audit-log verify --key <verifierKey>')
  for (const failed of checks) {
    if (!failed.ok) app.log.warn(failed, `audit-log check failed: ${failed.check}`)
  }
}
