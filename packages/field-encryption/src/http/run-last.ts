/** A preSerialization hook that runs after every other one of its route. */
import type { preSerializationAsyncHookHandler, RouteOptions } from 'fastify'

type Hooks = RouteOptions['preSerialization']

/**
 * Adds the hook to a route, from `onRoute`. Fastify reads the hooks of a route when all plugins are
 * loaded; each time they are read, this hook is moved to the end. So neither an instance hook that is
 * added later nor one of the route itself can change what the hook returns.
 *
 * @param isNeeded called when the hooks are read.
 */
export function runLast(
  route: RouteOptions,
  hook: preSerializationAsyncHookHandler,
  isNeeded: () => boolean,
): void {
  let hooks = [route.preSerialization ?? []].flat()
  Object.defineProperty(route, 'preSerialization', {
    enumerable: true,
    configurable: true,
    get() {
      // The same array each time, because other plugins push to it.
      const others = hooks.filter((each) => each !== hook)
      hooks.splice(0, Infinity, ...others, ...(isNeeded() ? [hook] : []))
      return hooks
    },
    set(given: Hooks) {
      hooks = [given ?? []].flat()
    },
  })
}
