/** The rule in `config.sessions` of a route. */
import { compileRouteRule, missedRoute } from '@parapet/kit'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import { PARAPET_SESSIONS_INVALID_RULE } from '../errors.ts'
import { describeValue } from '../users/describe-value.ts'

/**
 * Whether a route needs a login. `required`: requests without a valid token are refused. `optional`:
 * anonymous requests pass, requests with an invalid token are refused. `ignored`: tokens are not read.
 * `enrolment`: as a route without a rule, and also for sessions that may do nothing but enrol a second factor.
 */
export type SessionRule = 'required' | 'optional' | 'ignored' | 'enrolment'

declare module 'fastify' {
  interface FastifyContextConfig {
    /** Whether the route needs a login. @default `required`, or `optional` if `requireByDefault` is false */
    sessions?: SessionRule
  }
}

const RULES: readonly unknown[] = [
  'required',
  'optional',
  'ignored',
  'enrolment',
] satisfies SessionRule[]

/**
 * Compiles the rules of all routes that are declared after this call.
 *
 * @returns the rule for a request.
 * @throws PARAPET_SESSIONS_INVALID_RULE (while a route is declared)
 */
export function compileSessionRules(
  app: FastifyInstance,
  requireByDefault: boolean,
): (request: FastifyRequest) => SessionRule {
  const byDefault: SessionRule = requireByDefault ? 'required' : 'optional'
  const rules = compileRouteRule<SessionRule>(app, {
    plugin: '@parapet/sessions',
    key: 'sessions',
    compile({ raw, name }) {
      if (raw === undefined) return undefined
      if (RULES.includes(raw)) return raw as SessionRule
      throw new PARAPET_SESSIONS_INVALID_RULE(name, describeValue(raw))
    },
  })
  return (request) => {
    const rule = rules.of(request.routeOptions)
    // The route was declared before this plugin, for instance by a plugin that brings its own login.
    if (rule === missedRoute) return readRaw(request.routeOptions.config.sessions)
    if (rule !== undefined) return rule
    // A request that matches no route gets its 404 without a login.
    return request.is404 ? 'optional' : byDefault
  }
}

/** A rule that was not checked at boot: anything but a rule is the strictest one. */
function readRaw(raw: unknown): SessionRule {
  return RULES.includes(raw) ? (raw as SessionRule) : 'required'
}
