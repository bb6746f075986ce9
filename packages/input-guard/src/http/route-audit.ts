/** Reports input that is not bounded, when all routes are declared. */
import type { FastifyInstance, HTTPMethods } from 'fastify'
import {
  PARAPET_INPUT_GUARD_INVALID_OPTION,
  PARAPET_INPUT_GUARD_UNBOUNDED_ROUTES,
} from '../errors.ts'
import type { GuardedRoutes } from './routes.ts'

/** @throws PARAPET_INPUT_GUARD_INVALID_OPTION, PARAPET_INPUT_GUARD_UNBOUNDED_ROUTES the audit found something and must stop the boot. */
export function auditRoutes(
  app: FastifyInstance,
  routes: GuardedRoutes,
  {
    audit,
    unguarded,
  }: {
    readonly audit: 'error' | 'warn' | 'off'
    readonly unguarded: Readonly<Record<string, string>>
  },
): void {
  for (const name of Object.keys(unguarded)) {
    const [method, url] = name.split(' ', 2) as [HTTPMethods, string]
    if (routes.has(name) || app.hasRoute({ method, url })) continue
    const problem = `  "unguarded" names ${name}, which is no route`
    throw new PARAPET_INPUT_GUARD_INVALID_OPTION('@parapet/input-guard', problem)
  }
  if (audit === 'off') return
  const findings = routes.audit(unguarded)
  if (findings.length === 0) return
  if (audit === 'error') throw new PARAPET_INPUT_GUARD_UNBOUNDED_ROUTES(findings.join('\n'))
  app.log.warn(
    { findings: findings.slice(0, 100).map((each) => each.trim()), count: findings.length },
    'input-guard found input that is not bounded; set "audit" to "error" to stop the start',
  )
}
