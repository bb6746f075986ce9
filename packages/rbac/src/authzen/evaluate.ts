/** Evaluates AuthZEN requests with a permission, or with the rule of a route of this app. */
import { parsePrincipal, withDeadline, type Principal } from '@parapet/kit'
import { Access, type AccessServices } from '../decide/access.ts'
import type { PolicyInForce } from '../decide/policy-in-force.ts'
import type { DeclaredRoute, RuleNode } from '../decide/route-rule.ts'
import { PARAPET_RBAC_LOOKUP_TIMEOUT } from '../errors.ts'
import {
  attributesOf,
  ipOf,
  permissionFor,
  routePattern,
  statedOf,
  type AttributeLoader,
  type AuthzenEvaluation,
  type ResourceLoader,
  type SubjectResolver,
} from './evaluation.ts'

/** Decides one evaluation. */
export type Evaluate = (evaluation: AuthzenEvaluation) => Promise<boolean>

/** See {@link createEvaluate}. */
export interface EvaluateServices {
  readonly policy: PolicyInForce
  readonly access: AccessServices
  readonly routes: readonly DeclaredRoute[]
  readonly principalOf: SubjectResolver
  readonly loadResource: ResourceLoader | undefined
  readonly loadAttributes: AttributeLoader | undefined
  /** Properties of a subject that the caller may state. */
  readonly trustedProperties: readonly string[]
  /** Properties of a resource that the caller may state. */
  readonly trustedResourceProperties: readonly string[]
}

interface Question {
  readonly node: RuleNode
  readonly permissions: readonly string[]
}

/** Requires a principal only. */
const ANY_PRINCIPAL: Question = { node: { op: 'all', of: [] }, permissions: [] }

/** Creates the function that decides evaluations. */
export function createEvaluate(services: EvaluateServices): Evaluate {
  const { routes, loadResource } = services
  const look = createLookup(services.access)
  return async (evaluation) => {
    const access = await openAccess(services, evaluation)
    if (access === null) return false
    const question = questionOf(services.policy, routes, evaluation)
    if (typeof question === 'boolean') return question
    const { node, permissions } = question
    const { resource } = evaluation
    const loaded =
      loadResource === undefined
        ? attributesOf(resource, services.trustedResourceProperties)
        : await look('authzen.resource', () => loadResource(resource))
    const { allowed } = await access.decide(node, permissions, loaded)
    return allowed
  }
}

/** Returns the decisions of the subject of an evaluation; `null`: it is unknown. */
export async function openAccess(
  services: EvaluateServices,
  evaluation: AuthzenEvaluation,
): Promise<Access | null> {
  const { principalOf, loadAttributes } = services
  const { subject } = evaluation
  const look = createLookup(services.access)
  const found = await look('authzen.subject', () => principalOf(subject))
  if (found === null) return null
  const principal = parsePrincipal(found)
  const attributes = await look('authzen.attributes', () => loadAttributes?.(principal, subject))
  return accessFor(services, principal, attributes, evaluation)
}

/** Creates a function that limits how long a lookup takes. */
export function createLookup({ factTimeoutMs, clock }: AccessServices) {
  return async <T>(name: string, find: () => T | Promise<T>): Promise<T> => {
    const late = (): Error => new PARAPET_RBAC_LOOKUP_TIMEOUT(name, factTimeoutMs)
    return withDeadline(Promise.resolve(find()), factTimeoutMs, late, clock)
  }
}

function accessFor(
  { policy, access, trustedProperties }: EvaluateServices,
  principal: Principal,
  attributes: Readonly<Record<string, unknown>> | undefined,
  { subject, action, context }: AuthzenEvaluation,
): Access {
  const stated = statedOf(subject.properties, trustedProperties)
  return new Access(policy, access, {
    principal,
    subject: () => ({ ...attributes, ...Object.fromEntries(stated) }),
    environment: () => ({
      time: access.clock.now(),
      ip: ipOf(context),
      attributes: { ...context, ...action.properties },
    }),
    // The calling service enforces the decision, so the event is its own.
    report: () => {},
  })
}

function questionOf(
  { engine }: PolicyInForce,
  routes: readonly DeclaredRoute[],
  evaluation: AuthzenEvaluation,
): Question | boolean {
  const permission = permissionFor(evaluation, (name) => engine.permissionIds.has(name))
  if (permission !== undefined) {
    return { node: { op: 'permission', permission }, permissions: [permission] }
  }
  const { action, resource } = evaluation
  if (resource.type !== 'route') return false
  const pattern = routePattern(resource.id)
  const route = routes.find(
    ({ method, url }) => method === action.name && routePattern(url) === pattern,
  )
  if (route === undefined) return false
  const { rule } = route
  // A stale policy decides nothing, but public routes are open then as well.
  if (rule.kind === 'public') return true
  return rule.kind === 'guarded' ? rule : ANY_PRINCIPAL
}
