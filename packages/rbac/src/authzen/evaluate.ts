/** Evaluates AuthZEN requests with a permission, or with the rule of a route of this app. */
import { parsePrincipal, type Principal } from '@parapet/kit'
import { Access, type AccessServices } from '../decide/access.ts'
import type { PolicyInForce } from '../decide/policy-in-force.ts'
import type { DeclaredRoute, RuleNode } from '../decide/route-rule.ts'
import {
  attributesOf,
  ipOf,
  permissionFor,
  routePattern,
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
}

interface Question {
  readonly node: RuleNode
  readonly permissions: readonly string[]
}

/** Allows every principal. */
const ANY_PRINCIPAL: Question = { node: { op: 'all', of: [] }, permissions: [] }

/** Creates the function that decides evaluations. */
export function createEvaluate(services: EvaluateServices): Evaluate {
  const { routes, principalOf, loadResource } = services
  return async (evaluation) => {
    const principal = await principalOf(evaluation.subject)
    if (principal === null) return false
    const access = accessFor(services, parsePrincipal(principal), evaluation)
    const question = questionOf(access, routes, evaluation)
    if (question === undefined) return false
    const { node, permissions } = question
    const { resource } = evaluation
    const loaded =
      loadResource === undefined ? attributesOf(resource) : await loadResource(resource)
    const { allowed } = await access.decide(node, permissions, loaded)
    return allowed
  }
}

function accessFor(
  { policy, access }: EvaluateServices,
  principal: Principal,
  { subject, action, context }: AuthzenEvaluation,
): Access {
  return new Access(policy.engine, access, {
    principal,
    granted: policy.grantedTo(principal.id),
    stale: policy.stale,
    subject: () => subject.properties,
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
  { engine }: Access,
  routes: readonly DeclaredRoute[],
  evaluation: AuthzenEvaluation,
): Question | undefined {
  const permission = permissionFor(evaluation, (name) => engine.permissionIds.has(name))
  if (permission !== undefined) {
    return { node: { op: 'permission', permission }, permissions: [permission] }
  }
  const { action, resource } = evaluation
  if (resource.type !== 'route') return undefined
  const pattern = routePattern(resource.id)
  const route = routes.find(
    ({ method, url }) => method === action.name && routePattern(url) === pattern,
  )
  if (route === undefined) return undefined
  return route.rule.kind === 'guarded' ? route.rule : ANY_PRINCIPAL
}
