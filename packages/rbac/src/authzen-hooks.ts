/** How a question of AuthZEN is decided: by a permission, or by the rule of a route of this app. */
import { parsePrincipal, type Principal } from '@parapet/kit'
import { Access } from './access.ts'
import {
  attributesOf,
  ipOf,
  permissionFor,
  routePattern,
  type AuthzenEvaluation,
  type ResourceLoader,
} from './authzen.ts'
import type { EvaluationDecider } from './authzen-routes.ts'
import type { LivePolicy } from './live-policy.ts'
import type { DeclaredRoute } from './matrix.ts'
import type { RbacSettings } from './options.ts'
import type { RuleNode } from './rules.ts'

interface Question {
  readonly node: RuleNode
  readonly permissions: readonly string[]
}

/** Everybody whom the login knows. */
const ANYBODY: Question = { node: { op: 'all', of: [] }, permissions: [] }

/** Makes the decider of the AuthZEN routes. */
export function createEvaluationDecider(
  live: LivePolicy,
  routes: readonly DeclaredRoute[],
  settings: RbacSettings,
): EvaluationDecider {
  return async (principal, evaluation, load) => {
    const access = accessFor(live, settings, parsePrincipal(principal), evaluation)
    const question = questionOf(access, routes, evaluation)
    if (question === undefined) return false
    const { node, permissions } = question
    const decision = await access.decide(node, permissions, await resourceOf(evaluation, load))
    return decision.allowed
  }
}

function accessFor(
  live: LivePolicy,
  settings: RbacSettings,
  principal: Principal,
  { subject, action, context }: AuthzenEvaluation,
): Access {
  return new Access(live.engine, settings, {
    principal,
    granted: live.grantedTo(principal.id),
    stale: live.stale,
    subject: () => subject.properties,
    environment: () => ({
      time: settings.clock.now(),
      ip: ipOf(context),
      attributes: { ...context, ...action.properties },
    }),
    // A question of somebody else's gate; what it does with the answer is its own event.
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
  return route.rule.kind === 'guarded' ? route.rule : ANYBODY
}

async function resourceOf(
  { resource }: AuthzenEvaluation,
  load: ResourceLoader | undefined,
): Promise<unknown> {
  return load === undefined ? attributesOf(resource) : load(resource)
}
