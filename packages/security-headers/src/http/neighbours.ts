/** Looks for other plugins, in every context, that change what this plugin promises. */
import type { FastifyInstance } from 'fastify'
import { PARAPET_SECURITY_HEADERS_CONFLICT } from '../errors.ts'
import type { CacheControl } from '../policy/cache-control.ts'

/** What was found. Complete once the app is ready. */
export interface Neighbours {
  /** Whether a login sets `request.principal`. */
  hasPrincipal: boolean
  /** Whether middleware may write to raw responses. */
  readonly middleware: { isPresent: boolean }
}

/** The settings that other plugins may contradict. */
interface Promised {
  readonly cors: object | undefined
  readonly principal: object | undefined
  readonly cacheControl: CacheControl
}

/** @throws PARAPET_SECURITY_HEADERS_CONFLICT the app has this plugin or @fastify/helmet already. */
export function refuseSecondPlugin(app: FastifyInstance): void {
  if (app.hasDecorator('securityHeaders')) {
    throw new PARAPET_SECURITY_HEADERS_CONFLICT(
      '@parapet/security-headers is registered already in this context or in a parent; register it once, and set rules on routes',
    )
  }
  if (!app.hasReplyDecorator('cspNonce')) return
  throw new PARAPET_SECURITY_HEADERS_CONFLICT(
    'another plugin has added reply.cspNonce already, as @fastify/helmet does; remove @fastify/helmet',
  )
}

/** Watches the contexts of the app, and checks them when it is ready. */
export function watchNeighbours(app: FastifyInstance, promised: Promised): Neighbours {
  const contexts = [app]
  const found: Neighbours = {
    hasPrincipal: promised.principal !== undefined,
    middleware: { isPresent: false },
  }
  app.addHook('onRegister', (child) => void contexts.push(child))
  app.addHook('onReady', async () => {
    const has = (name: string) => contexts.some((each) => each.hasPlugin(name))
    found.hasPrincipal ||= has('@parapet/sessions')
    found.middleware.isPresent = contexts.some((each) => each.hasDecorator('use'))
    checkCors(app, has('@fastify/cors'), promised)
    const hasLogin = LOGINS.some((name) => contexts.some((each) => each.hasRequestDecorator(name)))
    contexts.length = 0
    if (hasLogin && !found.hasPrincipal && promised.cacheControl === 'authenticated') {
      app.log.warn(
        '@parapet/security-headers: cacheControl is "authenticated", but the option "principal" is not set. A login that does not set request.principal is only recognized by Authorization, request.user and the names of cookies. Set the option "principal"',
      )
    }
  })
  return found
}

/** What logins without a principal add to requests. */
const LOGINS = ['session', 'user', 'jwtVerify']

function checkCors(app: FastifyInstance, isPresent: boolean, { cors }: Promised): void {
  if (!isPresent) return
  if (cors !== undefined) {
    throw new PARAPET_SECURITY_HEADERS_CONFLICT(
      'the option "cors" and @fastify/cors both set the CORS headers, so the one that runs last decides; remove @fastify/cors',
    )
  }
  app.log.warn(
    '@parapet/security-headers does not check the origins of @fastify/cors, and refuses the requests of other sites that it allows. Remove @fastify/cors and set the option "cors"',
  )
}
