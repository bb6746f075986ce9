/** Adds a guard to the hook in which the rules of routes are decided. */
import type { FastifyInstance, FastifyReply, FastifyRequest, RouteOptions } from 'fastify'
import type { DecisionHook } from '../options.ts'

/** Calls `done`, or returns a promise that rejects to refuse the request. */
export type Guard = (
  request: FastifyRequest,
  reply: FastifyReply,
  done: () => void,
) => Promise<void> | undefined

const kAppended = Symbol('@parapet/mfa:guard')

/** Adds the guard to all routes of the app. */
export function addGuard(app: FastifyInstance, hook: DecisionHook, guard: Guard): void {
  if (hook === 'onRequest') app.addHook('onRequest', guard)
  else if (hook === 'preParsing') {
    app.addHook('preParsing', (request, reply, _payload, done) => guard(request, reply, done))
  } else guardBeforeHandlers(app, guard)
}

/** Appends the guard to the route's own hooks, because a hook of the instance runs before them. */
function guardBeforeHandlers(app: FastifyInstance, guard: Guard): void {
  app.addHook('onRoute', (route) => {
    const own = [route.preHandler ?? []].flat()
    // Fastify copies the hooks of a GET route to its HEAD route.
    if (!own.includes(guard)) route.preHandler = [...own, guard]
    route.config = { ...route.config, [kAppended]: true } as NonNullable<RouteOptions['config']>
  })
  // Routes that were declared before the plugin have no appended guard.
  app.addHook('preHandler', (request, reply, done) => {
    if (!(kAppended in request.routeOptions.config)) return guard(request, reply, done)
    done()
    return undefined
  })
}
