/** The routes of AuthZEN's searches. @see AuthZEN Authorization API 1.0, section 8 */
import type { FastifyInstance, RouteShorthandOptions } from 'fastify'
import {
  createLookup,
  openAccess,
  type Evaluate,
  type EvaluateServices,
} from '../authzen/evaluate.ts'
import { permissionFor, routePattern, type AuthzenEvaluation } from '../authzen/evaluation.ts'
import { search, type Candidates } from '../authzen/search.ts'
import { searchRequest, searchResponse } from '../authzen/schemas.ts'
import { everyRow, type Filter } from '../decide/filter.ts'
import { PARAPET_RBAC_FACT_IN_FILTER, PARAPET_RBAC_TOO_MANY_RELATIONS } from '../errors.ts'
import type { RbacSettings } from '../options.ts'

type Authzen = NonNullable<RbacSettings['authzen']>

/** The addresses for the discovery document: a search of subjects needs the option `subjects`. */
export function searchEndpoints({ baseUrl, prefix, subjects }: Authzen): Record<string, string> {
  const at = `${baseUrl}${prefix}/search`
  return {
    ...(subjects === undefined ? undefined : { search_subject_endpoint: `${at}/subject` }),
    search_resource_endpoint: `${at}/resource`,
    search_action_endpoint: `${at}/action`,
  }
}

/** Serves the searches. */
export function serveSearch(
  app: FastifyInstance,
  services: EvaluateServices,
  evaluate: Evaluate,
  settings: RbacSettings,
  endpoint: RouteShorthandOptions,
): void {
  const { prefix, subjects } = settings.authzen!
  const look = createLookup(services.access)
  const searches: Record<string, readonly [summary: string, candidates: () => Candidates]> = {
    resource: ['Search the resources that a subject may access', () => listed(services, settings)],
    action: ['Search the actions that a subject may perform', () => actionsOf(services)],
  }
  if (subjects !== undefined) {
    searches['subject'] = [
      'Search the subjects that may access a resource',
      () =>
        async ({ subject: { type } }, after, limit) => {
          const found = await look('authzen.subjects', () => subjects({ type, after, limit }))
          return found.filter((each) => each.type === type).map(({ id }) => id)
        },
    ]
  }
  for (const [kind, [summary, candidates]] of Object.entries(searches)) {
    const schema = {
      summary,
      description:
        'Returns one page of the AuthZEN search; each result was decided as an evaluation.',
      body: searchRequest,
      response: { 200: searchResponse },
    }
    app.post(`${prefix}/search/${kind}`, { ...endpoint, schema }, ({ body }) =>
      search(kind as 'subject', body, candidates(), evaluate),
    )
  }
}

/** The permissions of a resource type, without the type; of a route: its methods. */
function actionsOf({ policy, routes }: EvaluateServices): Candidates {
  return async ({ resource }, after, limit) => {
    const names =
      resource.type === 'route'
        ? routes
            .filter(({ url }) => routePattern(url) === routePattern(resource.id))
            .map(({ method }) => method)
        : [...policy.engine.permissionIds.keys()]
            .filter((name) => name.startsWith(`${resource.type}:`))
            .map((name) => name.slice(resource.type.length + 1))
    const start = after === undefined ? 0 : names.indexOf(after) + 1
    return [...new Set(names)].slice(start, start + limit)
  }
}

/**
 * The option `resources` lists candidates by the filter of the subject, which is made once; without it, its
 * relations do, if nothing else decides.
 */
function listed(services: EvaluateServices, { resources }: RbacSettings): Candidates {
  const look = createLookup(services.access)
  let made: Promise<Filter | null> | undefined
  return async (evaluation, after, limit) => {
    const { type } = evaluation.resource
    if (!Object.hasOwn(resources, type)) return listRelated(services, evaluation, after, limit)
    const filter = await (made ??= filterFor(services, evaluation))
    if (filter === null || filter.kind === 'none') return []
    const rows = await look('resources', () => resources[type]!({ type, filter, after, limit }))
    return rows.map(({ id }) => String(id))
  }
}

/** Every candidate is decided afterwards, so the principal of each page may be another one. */
async function listRelated(
  services: EvaluateServices,
  evaluation: AuthzenEvaluation,
  after: string | undefined,
  limit: number,
): Promise<readonly string[]> {
  const access = await openAccess(services, evaluation)
  const { permissionIds } = services.policy.engine
  const permission = permissionFor(evaluation, (name) => permissionIds.has(name))
  if (access === null || permission === undefined) return []
  return (await access.listRelated(permission, { after, limit }))?.ids ?? []
}

/** Every candidate is decided afterwards, so a filter that cannot be made does not stop the search. */
async function filterFor(
  services: EvaluateServices,
  evaluation: AuthzenEvaluation,
): Promise<Filter | null> {
  const access = await openAccess(services, evaluation)
  const { permissionIds } = services.policy.engine
  const permission = permissionFor(evaluation, (name) => permissionIds.has(name))
  if (access === null || permission === undefined) return null
  try {
    return await access.loadFilter(permission)
  } catch (error) {
    const isKnown =
      error instanceof PARAPET_RBAC_FACT_IN_FILTER ||
      error instanceof PARAPET_RBAC_TOO_MANY_RELATIONS
    if (isKnown) return everyRow
    throw error
  }
}
