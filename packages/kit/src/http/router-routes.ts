/** Lists the routes of the router, also those that were declared before the plugin. */
import type { FastifyInstance } from 'fastify'

/** A route as the router has it. */
export interface RouterRoute {
  readonly method: string
  readonly url: string
  /** The config that `request.routeOptions` returns for the route. */
  readonly config: object
  readonly schema: unknown
  /** The context that has declared it. */
  readonly owner: unknown
  /** What Fastify keeps for the route, its handler and hooks among it. Private: its members may change. */
  readonly context: object
}

/** What find-my-way passes to `buildPrettyMeta`. */
interface PrintedRoute {
  readonly method?: unknown
  readonly store?: {
    readonly config?: { readonly url?: unknown }
    readonly schema?: unknown
    readonly server?: unknown
  }
}

/**
 * Lists the routes of all contexts, with the HEAD routes that Fastify adds. Fastify has no list of
 * routes, but its printer visits every route: this passes a visitor to the printer.
 *
 * @returns `undefined` if this version of Fastify does not call the visitor. Callers must refuse
 *   requests of routes that they do not know.
 */
export function listRoutes(app: FastifyInstance): RouterRoute[] | undefined {
  const routes: RouterRoute[] = []
  let visits = 0
  const visit = ({ method, store }: PrintedRoute): object => {
    visits++
    const config = store?.config
    if (typeof config?.url === 'string' && typeof method === 'string') {
      const { schema, server: owner } = store!
      routes.push({ method, url: config.url, config, schema, owner, context: store! })
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
  try {
    const text = app.printRoutes(options)
    return visits === 0 && /\((?!empty tree\))/.test(text) ? undefined : routes
  } catch {
    return undefined
  }
}

/** Whether a context is `app` or one of its children, whose routes the hooks of `app` guard. */
export function isInside(owner: unknown, app: FastifyInstance): boolean {
  return owner === app || Object.prototype.isPrototypeOf.call(app, owner as object)
}
