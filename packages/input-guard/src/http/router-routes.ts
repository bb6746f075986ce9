/** Lists the routes of the router, also those that were declared before the plugin. */
import type { FastifyInstance } from 'fastify'

/** A route as the router has it. */
export interface RouterRoute {
  readonly method: string
  readonly config: { readonly url: string }
  readonly schema: unknown
  /** The context that has declared it. */
  readonly context: FastifyInstance
}

/** What the router passes to `buildPrettyMeta`. */
interface PrintedRoute {
  readonly method?: unknown
  readonly store?: {
    readonly config?: { readonly url?: unknown }
    readonly schema?: unknown
    readonly server?: unknown
  }
}

/**
 * Lists the routes of one context. Fastify has no list of routes, but its printer visits every route: this
 * passes a visitor to it. If a later Fastify does not call the visitor, the list is empty.
 */
export function routesOf(context: FastifyInstance): RouterRoute[] {
  const routes: RouterRoute[] = []
  const visit = ({ method, store }: PrintedRoute): object => {
    const isOwn = store?.server === context && typeof store.config?.url === 'string'
    if (isOwn && typeof method === 'string') {
      const config = store.config as { readonly url: string }
      routes.push({ method, config, schema: store.schema, context })
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
  context.printRoutes(options)
  return routes
}
