/**
 * Authorization for Fastify: a policy of roles, permissions and conditions, and a rule for every route.
 *
 * An app does not start if a route has no rule. Rules are compiled when routes are declared. What
 * roles alone can decide is decided before the body is read.
 */
import { declarePhase, useSecurityEvents } from '@parapet/kit'
import type { FastifyInstance, FastifyPluginAsync } from 'fastify'
import fp from 'fastify-plugin'
import type { RequestRbac } from './decide/request-rbac.ts'
import type { RbacRule } from './decide/rule-config.ts'
import { events } from './events.ts'
import { createRbac, type Rbac } from './http/app-rbac.ts'
import { serveAuthzen } from './http/authzen-routes.ts'
import { openPolicy, openReportMode, reportUndeclared } from './http/open-policy.ts'
import { decorateHiding } from './http/hidden-reply.ts'
import { RouteDocuments } from './http/openapi.ts'
import { requireNoneOutside } from './http/outside-routes.ts'
import { decorateRequests, type Candidate } from './http/request-rbac.ts'
import { RouteGuard } from './http/route-guard.ts'
import { RouteRules } from './http/route-rules.ts'
import { allowTestMatrix } from './http/test-matrix.ts'
import { resolveOptions, type RbacOptions } from './options.ts'

export type { Example } from './analysis/examples.ts'
export type { ShadowDifference, ShadowReport } from './analysis/shadow.ts'
export type { PossibleHolder } from './analysis/who-could-ever.ts'
export type { Witness, WitnessReport } from './analysis/witnesses.ts'
export type * from './authzen/evaluation.ts'
export type { SubjectLister } from './authzen/search.ts'
export type { AttributeSchema, AttributeType, AttributeValue } from './attributes/attributes.ts'
export type * from './conditions/condition.ts'
export * from './conditions/operators.ts'
export type { RequestRbac } from './decide/request-rbac.ts'
export type { FactFinder, FactQuestion } from './decide/facts.ts'
export type { Filter } from './decide/filter.ts'
export type { Reason } from './decide/reasons.ts'
export type { Right as MatrixCell } from './decide/rights.ts'
export type { RbacResource, RbacRule, RuleTerm } from './decide/rule-config.ts'
export * from './errors.ts'
// The types of events must be in the published declarations; an unused import would be dropped.
export type * from './events.ts'
export type { Rbac } from './http/app-rbac.ts'
export type { AccessContext } from './http/app-lists.ts'
export type { ChangeContext } from './http/changes.ts'
export type { DescribedRoute } from './http/openapi.ts'
export { testMatrix, type TestMatrixOptions, type TestMatrixReport } from './http/test-matrix.ts'
export type { PolicyDiff, RightChange, RouteChange } from './live/diff.ts'
export { createMemoryPolicyStore } from './live/policy-store-memory.ts'
export { createPostgresPolicyStore } from './live/policy-store-postgres.ts'
export type {
  PolicyChange,
  PolicyMark,
  PolicyState,
  PolicyStore,
  TimedGrant,
} from './live/policy-store.ts'
export type { AuthzenOptions, DecisionHook, RbacOptions, RbacPrincipalMapping } from './options.ts'
export { definePolicy, fromMap } from './policy/define-policy.ts'
export { decodePolicy, encodePolicy } from './policy/encode-policy.ts'
export type * from './policy/policy-types.ts'
export type { Pack } from './pack/pack.ts'
export { createMemoryRelations } from './tuples/memory-relations.ts'
export {
  createPostgresRelations,
  type PostgresRelationsOptions,
} from './tuples/postgres-relations.ts'
export { createRelations, type TupleLoader } from './tuples/loaded-relations.ts'
export type { RelationDocument, RelationPlan } from './relations/relation-plan.ts'
export type * from './tuples/relations.ts'
export type { ListQuery, ResourceLister, ResourcePage } from './search/list-resources.ts'
export type { SqlDialect } from './sql/dialect.ts'
export type { SqlFragment } from './sql/fragment.ts'
export type { SqlNaming } from './sql/write-sql.ts'
export type { ExplainContext, Explanation } from './review/explain.ts'
export type { PolicyFinding, PolicyLintRule, PolicyWaiver } from './lint/lint.ts'
export type { Matrix, MatrixRow } from './review/matrix.ts'
export type { DenyTrace, GrantTrace } from './review/trace-grants.ts'
export type { Holder } from './review/who-can.ts'
export type { AccessReport, ReportedDenial } from './routes/report-mode.ts'

declare module 'fastify' {
  interface FastifyInstance {
    /** The policy in force. */
    rbac: Rbac
  }
  interface FastifyRequest {
    /** Decides what the principal of the request may do. */
    readonly rbac: RequestRbac
  }
  interface FastifyContextConfig {
    /** Who may call the route. */
    rbac?: RbacRule<FastifyRequest>
  }
}

const NAME = '@parapet/rbac'

async function rbacPlugin(app: FastifyInstance, options: RbacOptions): Promise<void> {
  const settings = resolveOptions(options)
  declarePhase(app, NAME, 'authorization')
  const securityEvents = useSecurityEvents(app, events)
  const live = await openPolicy(app, settings, securityEvents)
  const reportMode = openReportMode(app, settings, securityEvents)
  const candidate: Candidate = { shadow: undefined }
  const access = decorateRequests(app, live, settings, securityEvents, reportMode, candidate)
  const documents = new RouteDocuments(settings.securityScheme)
  const rules = new RouteRules(app, {
    engine: () => live.engine,
    routes: settings.routes,
    document: (route, rule, context) => documents.add(route, rule, context),
    tolerate:
      settings.report === undefined
        ? undefined
        : (routes) => reportUndeclared(app, routes, securityEvents, reportMode.isActive),
  })
  requireNoneOutside(app, settings.outside)
  decorateHiding(app)
  const guard = new RouteGuard(app, settings.hook, {
    ruleOf: (request) => rules.ofRequest(request),
    accessOf: access.accessOf,
    load: access.load,
    loadResource: access.loadResource,
    anonymous: (request) => access.createAccess(request, null),
    isReporting: () => reportMode.isActive,
  })
  const rbacOfApp = createRbac({ live, rules, securityEvents, reportMode, candidate, settings })
  app.decorate('rbac', rbacOfApp)
  allowTestMatrix(rbacOfApp, guard, access.createAccess)
  serveAuthzen(app, live, rules.declared, settings)
}

/** The plugin. Register it with `await`, before the routes that it guards. */
export const rbac: FastifyPluginAsync<RbacOptions> = fp(rbacPlugin, {
  name: NAME,
  fastify: '5.x',
})
export default rbac
