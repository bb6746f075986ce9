/** Finds the entry of a request's route: by its own rule, or by the option `routes`. */
import { missedRoute, type RouteRules } from '@parapet/kit'
import type { RouteEntry } from '../../headers/route-entry.ts'

/** What `request.routeOptions` says of a route. */
interface RouteName {
  readonly method?: string
  readonly url?: string
}
/** The part of the catalog that is used here. */
interface Named {
  readonly find: (route: RouteName) => RouteEntry | undefined
}

/**
 * Adds the option `routes` to the compiled rules. It is looked up for routes that were declared
 * before the plugin only: every other route has an entry.
 */
export function createRouteEntries(
  rules: RouteRules<RouteEntry>,
  { find }: Named,
): RouteRules<RouteEntry> {
  return {
    of(route) {
      const found = rules.of(route)
      if (found !== undefined && found !== missedRoute) return found
      return find(route as RouteName) ?? found
    },
  }
}
