/**
 * Authorization for a Fastify app: roles, permissions and conditions as data, decided by bits.
 *
 * Every route says who may call it, or the app does not start. Rules are compiled as routes are
 * declared; what roles alone can decide is decided before a byte of the body is read.
 */
import { declarePhase, useSecurityEvents } from '@parapet/kit'
import type { FastifyInstance, FastifyPluginAsync } from 'fastify'
import fp from 'fastify-plugin'
import type { RequestRbac } from './access.ts'
import { createRbac, type Rbac } from './app-hooks.ts'
import { declareAuthzenRoutes } from './authzen-routes.ts'
import { createEvaluationDecider } from './authzen-hooks.ts'
import { events } from './events.ts'
import { RouteGuard } from './guard-hooks.ts'
import { documentRoute } from './openapi-hooks.ts'
import { resolveOptions, type RbacOptions } from './options.ts'
import { openPolicy } from './policy-hooks.ts'
import { Probes, runMatrix, type TestMatrixOptions, type TestMatrixReport } from './probe-routes.ts'
import { decorateRequests } from './request-hooks.ts'
import type { RbacRule } from './route-config.ts'

export type { FactFinder, FactQuestion, RequestRbac } from './access.ts'
export type { ExplainContext, Holder, Rbac } from './app-hooks.ts'
export type { AttributeSchema, AttributeType, AttributeValue } from './attributes.ts'
export type * from './authzen.ts'
export * from './conditions.ts'
export type { PolicyDiff, RightChange, RouteChange } from './diff.ts'
export { decodePolicy, encodePolicy } from './document.ts'
export * from './errors.ts'
// Keeps the typed events in the published declarations: an import that emits nothing would be dropped.
export type * from './events.ts'
export type { DenyTrace, Explanation, GrantTrace } from './explain.ts'
export type { Filter } from './filter.ts'
export type { Matrix, MatrixCell, MatrixRow } from './matrix.ts'
export type { DescribedRoute } from './openapi-hooks.ts'
export type { AuthzenOptions, RbacOptions } from './options.ts'
export { definePolicy, fromMap } from './policy.ts'
export { createPostgresPolicyStore } from './policy-store-postgres.ts'
export { createMemoryPolicyStore } from './policy-store.ts'
export type { PolicyChange, PolicyState, PolicyStore, TimedGrant } from './policy-store.ts'
export type * from './policy-types.ts'
export type { TestMatrixOptions, TestMatrixReport } from './probe-routes.ts'
export type { Reason } from './reasons.ts'
export type { RbacResource, RbacRule } from './route-config.ts'
export type { RuleTerm } from './rules.ts'
export type { SqlFragment, SqlNaming } from './sql.ts'

declare module 'fastify' {
  interface FastifyInstance {
    rbac: Rbac
  }
  interface FastifyRequest {
    /** What the caller may do. */
    readonly rbac: RequestRbac
  }
  interface FastifyContextConfig {
    /** Who may call the route. */
    rbac?: RbacRule<FastifyRequest>
  }
}

const NAME = '@parapet/rbac'
const kProbes = Symbol(`${NAME}:probes`)

async function rbacPlugin(app: FastifyInstance, options: RbacOptions): Promise<void> {
  const settings = resolveOptions(options)
  declarePhase(app, NAME, 'authorization')
  const securityEvents = useSecurityEvents(app, events)
  let guard: RouteGuard | undefined
  const live = await openPolicy(app, settings, (engine) => guard?.rebind(engine))
  const probes = new Probes()
  const accessOf = decorateRequests(app, { live, settings, probes, securityEvents })
  guard = new RouteGuard({
    accessOf,
    engine: () => live.engine,
    routes: settings.routes,
    document: (route, rule) => documentRoute(app, route, rule, settings.securityScheme),
    probe: (request) => probes.find(request) !== undefined,
  })
  guard.install(app)
  const surface = createRbac(live, guard, securityEvents, settings)
  app.decorate('rbac', Object.freeze(Object.assign(surface, { [kProbes]: probes })))
  if (settings.authzen !== undefined) {
    const decide = createEvaluationDecider(live, guard.declared, settings)
    declareAuthzenRoutes(app, settings.authzen, decide)
  }
}

/**
 * For an application's own tests: asks every route as every role and as nobody, through the real
 * hooks and without running a handler, and compares the answers with `app.rbac.matrix()`.
 *
 * @throws PARAPET_RBAC_MATRIX_MISMATCH with every route that answers otherwise.
 */
export async function testMatrix(
  app: FastifyInstance,
  options: TestMatrixOptions = {},
): Promise<TestMatrixReport> {
  await app.ready()
  const { [kProbes]: probes } = app.rbac as Rbac & { readonly [kProbes]: Probes }
  return runMatrix(app, app.rbac.matrix(), probes, options)
}

/** The plugin. Register it with `await` before the routes it is to guard. */
export const rbac: FastifyPluginAsync<RbacOptions> = fp(rbacPlugin, {
  name: NAME,
  fastify: '5.x',
})
export default rbac
