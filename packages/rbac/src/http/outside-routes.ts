/** Finds routes outside of the context in which the plugin is registered: no hook of it guards them. */
import { isInside, listRoutes, type RouterRoute } from '@parapet/kit'
import type { FastifyInstance } from 'fastify'
import { PARAPET_RBAC_OUTSIDE_ROUTES } from '../errors.ts'

/** Contexts with a guard. All copies of the plugin use the same symbol. */
const kGuarded = Symbol.for('@parapet/rbac:guarded')

/**
 * Requires at ready that no route is outside, because the usual cause is a file without `fastify-plugin`.
 * Routes of a context that has an rbac of its own are not outside.
 *
 * @param reason why routes without a rule are not guarded; `undefined`: they stop the boot. Routes with
 *   `config.rbac` always stop it.
 * @throws PARAPET_RBAC_OUTSIDE_ROUTES
 */
export function requireNoneOutside(app: FastifyInstance, reason: string | undefined): void {
  Object.defineProperty(app, kGuarded, { value: true })
  app.addHook('onReady', async () => {
    const routes = listRoutes(app)
    if (routes === undefined) {
      if (Object.getPrototypeOf(app) === Object.prototype || reason !== undefined) return
      throw new PARAPET_RBAC_OUTSIDE_ROUTES('  (this version of Fastify does not list its routes)')
    }
    const lines = routes.filter(({ owner }) => !isGuarded(owner, app)).flatMap(describe)
    const open = reason === undefined ? lines : lines.filter((line) => line.endsWith(RULE))
    if (open.length > 0) {
      throw new PARAPET_RBAC_OUTSIDE_ROUTES([...new Set(open)].join('\n'))
    }
  })
}

/** A child context inherits the mark. */
function isGuarded(owner: unknown, app: FastifyInstance): boolean {
  return isInside(owner, app) || (typeof owner === 'object' && kGuarded in (owner as object))
}

const RULE = '(has a rule)'

function describe({ method, url, config }: RouterRoute): string[] {
  if ((config as { readonly rbac?: unknown }).rbac !== undefined) {
    return [`  ${method} ${url} ${RULE}`]
  }
  // Fastify adds the HEAD route of a GET route.
  return method === 'HEAD' ? [] : [`  ${method} ${url}`]
}
