/** Publishes a policy: checks it, compares it with the current one, stores it, puts it in force. */
import type { SecurityEventTypes } from '@parapet/kit'
import { Engine } from '../decide/engine.ts'
import type { FactFinder } from '../decide/facts.ts'
import type { DeclaredRoute } from '../decide/route-rule.ts'
import {
  PARAPET_RBAC_CONFLICT,
  PARAPET_RBAC_INVALID_POLICY,
  PARAPET_RBAC_POLICY_LINT,
} from '../errors.ts'
import { compilePolicy } from '../policy/compile-policy.ts'
import type { Policy, PolicyDocument } from '../policy/policy-types.ts'
import type { PolicyModel } from '../policy/policy-model.ts'
import { readPolicy } from '../policy/read-policy.ts'
import { lintPolicy, type PolicyWaiver } from '../lint/lint.ts'
import { diffPolicies, type PolicyDiff } from './diff.ts'
import type { LivePolicy } from './live-policy.ts'

/** What {@link publishPolicy} needs. */
export interface PublishServices {
  readonly live: LivePolicy
  /** The routes of this application. A policy that breaks one of them is refused. */
  readonly routes: readonly DeclaredRoute[]
  readonly ports: PolicyPorts
  readonly waivers: readonly PolicyWaiver[]
  /** Emits the event of the publication. */
  readonly announce: (details: SecurityEventTypes['rbac.policy_published']) => void
}

/** The limit keeps events small. */
export const MAX_CHANGES = 100

/**
 * Publishes a policy.
 *
 * @param ifDigest publish only if this is the digest of the policy in force.
 * @throws PARAPET_RBAC_INVALID_POLICY
 * @throws PARAPET_RBAC_POLICY_LINT
 * @throws PARAPET_RBAC_CONFLICT
 */
export async function publishPolicy(
  { live, routes, ports, waivers, announce }: PublishServices,
  next: Policy,
  ifDigest: string = live.engine.digest,
): Promise<PolicyDiff> {
  const engine = createEngine(next)
  const diff = diffPolicies(live.engine, engine, routes)
  requireUsable(engine.model.policy, diff, ports)
  requireCleanPolicy(engine.model, waivers)
  if (ifDigest !== live.engine.digest) throw new PARAPET_RBAC_CONFLICT()
  const previous = await live.publish(engine)
  announce({
    policyDigest: engine.digest,
    previousDigest: previous.digest,
    revision: live.revision,
    changes: diff.text.slice(0, MAX_CHANGES),
  })
  return diff
}

/** Returns what publishing a policy would change. @throws PARAPET_RBAC_INVALID_POLICY */
export function previewPolicy(
  { live, routes }: Pick<PublishServices, 'live' | 'routes'>,
  next: Policy,
): PolicyDiff {
  return diffPolicies(live.engine, createEngine(next), routes)
}

/** Requires that the lint finds no mistake that is not waived. @throws PARAPET_RBAC_POLICY_LINT */
export function requireCleanPolicy(model: PolicyModel, waivers: readonly PolicyWaiver[]): void {
  const findings = lintPolicy(model, waivers)
  if (findings.length === 0) return
  throw new PARAPET_RBAC_POLICY_LINT(findings.map(({ text }) => `  ${text}`).join('\n'))
}

/** What the application provides for policies. */
export interface PolicyPorts {
  readonly facts: Readonly<Record<string, FactFinder>>
  readonly relations?: unknown
}

/** Returns a line for everything that a policy needs and the options do not provide. */
export function missingPorts(
  policy: PolicyDocument,
  { facts, relations }: PolicyPorts,
): readonly string[] {
  const missing = Object.keys(policy.facts)
    .filter((name) => !Object.hasOwn(facts, name))
    .map(
      (name) =>
        `  facts.${name}: is declared in the policy but has no finder in the option "facts"`,
    )
  if (policy.relations === undefined || relations !== undefined) return missing
  return [
    ...missing,
    '  relations: is declared in the policy, but the option "relations" is missing',
  ]
}

function createEngine(policy: Policy): Engine {
  return new Engine(compilePolicy(readPolicy(policy)))
}

/** Refuses a policy that would break a route or the next start of this application. */
function requireUsable(
  policy: PolicyDocument,
  { brokenRoutes }: PolicyDiff,
  ports: PolicyPorts,
): void {
  const faults = [
    ...brokenRoutes.map(
      (route) => `  ${route}: uses a permission that the policy does not declare`,
    ),
    ...missingPorts(policy, ports),
  ]
  if (faults.length > 0) throw new PARAPET_RBAC_INVALID_POLICY(faults.join('\n'))
}
