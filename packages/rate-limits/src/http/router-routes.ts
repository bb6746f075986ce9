/** Lists the routes of the router, also those that were declared before the plugin. */
import type { FastifyInstance } from 'fastify'

/** A route as the router has it. */
export interface RouterRoute {
  readonly method: string
  readonly url: string
  readonly config: object
}

/** What find-my-way passes to `buildPrettyMeta`. */
interface PrintedRoute {
  readonly method?: unknown
  readonly store?: { readonly config?: { readonly url?: unknown }; readonly server?: unknown }
}

/**
 * Lists the routes of a context and its children. Fastify has no list of routes, but its printer visits
 * every route: this passes a visitor to it. If a later Fastify does not call the visitor, the list is empty,
 * and requests of the routes that are missing in it have the rule `notFound`.
 */
export function listRoutes(app: FastifyInstance): RouterRoute[] {
  const routes: RouterRoute[] = []
  const visit = ({ method, store }: PrintedRoute): object => {
    const config = store?.config
    if (
      typeof config?.url === 'string' &&
      typeof method === 'string' &&
      isInside(store?.server, app)
    ) {
      routes.push({ method, url: config.url, config })
    }
    return {}
  }
  const options = {
    includeMeta: ['config'],
    get buildPrettyMeta() {
      return visit
    },
    // The router assigns its own printer of routes here.
    set buildPrettyMeta(_own) {},
  }
  app.printRoutes(options)
  return routes
}

/** Whether the hooks of `app` run for the routes of a context. */
function isInside(owner: unknown, app: FastifyInstance): boolean {
  return owner === app || Object.prototype.isPrototypeOf.call(app, owner as object)
}
