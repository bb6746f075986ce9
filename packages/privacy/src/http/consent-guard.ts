/** Refuses requests for routes whose consent is missing. */
import {
  compileRouteRule,
  missedRoute,
  type PrincipalReader,
  type SecurityEvents,
} from '@parapet/kit'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import type { ConsentPurpose } from '../consent/purpose.ts'
import { PARAPET_PRIVACY_CONSENT_REQUIRED, PARAPET_PRIVACY_INVALID_RULE } from '../errors.ts'
import type { PrivacyContext } from '../service/context.ts'
import { hasConsent } from '../service/consent-changes.ts'

/** What a route declares under `config.consent`: a purpose, or several that are all needed. */
export type ConsentRule = string | readonly string[]

/** What the guard needs. */
export interface ConsentGuardParts {
  readonly plugin: string
  readonly context: PrivacyContext
  readonly principalOf: PrincipalReader
  readonly securityEvents: SecurityEvents
}

interface CompiledPurpose {
  readonly name: string
  readonly honoursGpc: boolean
}

/** Adds the guard. It runs after the login, before the body is read. */
export function addConsentGuard(app: FastifyInstance, parts: ConsentGuardParts): void {
  const { plugin, context, principalOf, securityEvents } = parts
  const { purposes } = context.settings
  const rules = compileRouteRule<readonly CompiledPurpose[]>(app, {
    plugin,
    key: 'consent',
    compile: ({ raw, name }) => (raw === undefined ? undefined : compile(raw, name, purposes)),
  })
  const refuse = (
    request: FastifyRequest,
    purpose: string,
    reason: 'absent' | 'gpc' | 'anonymous' | 'missed',
  ): Error => {
    securityEvents.emit('privacy.consent_refused', { details: { purpose, reason } }, request)
    return new PARAPET_PRIVACY_CONSENT_REQUIRED()
  }
  const decide = async (
    request: FastifyRequest,
    rule: readonly CompiledPurpose[],
  ): Promise<void> => {
    await principalOf.load(request)
    const subject = principalOf(request)?.id
    for (const { name } of rule) {
      if (subject === undefined) throw refuse(request, name, 'anonymous')
      if (!(await hasConsent(context, subject, name))) throw refuse(request, name, 'absent')
    }
  }

  app.addHook('onRequest', function consentGuard(request, _reply, done) {
    const rule = rules.of(request.routeOptions)
    if (rule === undefined) return done()
    if (rule === missedRoute) return done(refuse(request, 'unknown', 'missed'))
    if (hasGpc(request)) {
      const refused = rule.find(({ honoursGpc }) => honoursGpc)
      if (refused !== undefined) return done(refuse(request, refused.name, 'gpc'))
    }
    // Without a promise where the answer is known, which is the usual case.
    const subject = request.principal?.id
    if (subject !== undefined) {
      const isKnown = rule.every(({ name }) => context.cache.get(subject, name) === true)
      if (isKnown) return done()
    }
    // oxlint-disable-next-line promise/no-callback-in-promise -- a hook is either of callbacks or of promises
    decide(request, rule).then(() => done(), done)
  })
}

/** Also where a proxy has added the header once more: Node.js joins the values by commas. */
function hasGpc({ headers }: FastifyRequest): boolean {
  const value = headers['sec-gpc']
  if (value === undefined || value === '1') return value === '1'
  return String(value)
    .split(',')
    .some((each) => each.trim() === '1')
}

function compile(
  raw: unknown,
  route: string,
  purposes: Readonly<Record<string, ConsentPurpose>>,
): readonly CompiledPurpose[] {
  const names = [raw].flat()
  if (names.length === 0 || !names.every((name) => typeof name === 'string')) {
    throw new PARAPET_PRIVACY_INVALID_RULE(route, 'must be a purpose, or an array of purposes')
  }
  return names.map((name) => {
    if (!Object.hasOwn(purposes, name)) {
      const known = Object.keys(purposes).join(', ') || 'none'
      const problem = `names the purpose "${name}", which is not declared; known are ${known}`
      throw new PARAPET_PRIVACY_INVALID_RULE(route, problem)
    }
    return { name, honoursGpc: purposes[name]!.honoursGpc ?? false }
  })
}
