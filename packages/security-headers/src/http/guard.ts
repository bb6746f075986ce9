/** The `onRequest` hook: sets the header block, then decides on https, CORS and fetch metadata. */
import { missedRoute, readFastifyInternal } from '@parapet/kit'
import type {
  FastifyInstance,
  FastifyReply,
  FastifyRequest,
  HookHandlerDoneFunction,
} from 'fastify'
import {
  PARAPET_SECURITY_HEADERS_CROSS_SITE,
  PARAPET_SECURITY_HEADERS_HTTPS_REQUIRED,
  PARAPET_SECURITY_HEADERS_MISSED_ROUTE,
} from '../errors.ts'
import type { RouteEntry } from '../headers/route-entry.ts'
import { httpsRedirect } from '../isolation/https-redirect.ts'
import { applyCors } from './cors.ts'
import { createIsolation, describeOrigin } from './fetch-metadata.ts'
import type { Parts } from './request/parts.ts'
import type { ReplyHeaders } from './replies/services.ts'

/** The settings of the hook. */
interface GuardSettings {
  readonly https: { readonly hosts: readonly string[] } | undefined
  readonly isolation: { readonly trustedOrigins: readonly string[] }
}

/** Adds the hook. It runs before the body is read. */
export function addGuard(
  app: FastifyInstance,
  parts: Parts,
  { https, isolation }: GuardSettings,
  { set, apply }: ReplyHeaders,
): void {
  const { base, rules, tenants, cors, refusals } = parts
  const secureHosts = https === undefined ? null : new Set(https.hosts)
  const isolate = createIsolation(parts, isolation.trustedOrigins)
  if (https !== undefined) warnWithoutTls(app)

  app.addHook('onRequest', function securityHeadersGuard(request, reply, done) {
    const rule = rules.of(request.routeOptions)
    const entry = rule === undefined || rule === missedRoute ? base : rule
    const pending = tenants === null ? undefined : tenants.prepare(request, entry)
    const next = (): void => {
      apply(reply, tenants?.blockOf(request) ?? entry.block)
      if (rule === missedRoute) done(new PARAPET_SECURITY_HEADERS_MISSED_ROUTE())
      else decide(request, reply, entry, done)
    }
    if (pending === undefined) next()
    else void after(pending, next)
  })

  function decide(
    request: FastifyRequest,
    reply: FastifyReply,
    entry: RouteEntry,
    done: HookHandlerDoneFunction,
  ): void {
    if (secureHosts !== null && request.protocol === 'http' && !entry.plainHttp) {
      const target = httpsRedirect(request, entry.page, secureHosts)
      if (target === null) return done(new PARAPET_SECURITY_HEADERS_HTTPS_REQUIRED())
      void reply.redirect(target, 308)
      return
    }
    if (cors !== null && applyCors(request, reply, cors, set)) return
    const reason = isolate(request)
    if (reason === null) return done()
    refusals.isolated(request, { reason, ...describeOrigin(request) })
    done(new PARAPET_SECURITY_HEADERS_CROSS_SITE())
  }
}

/** Without TLS and `trustProxy`, every request counts as one over http. */
function warnWithoutTls(app: FastifyInstance): void {
  app.addHook('onListen', (done) => {
    const { trustProxy } = (readFastifyInternal(app, 'fastify.options') ?? {}) as {
      readonly trustProxy?: unknown
    }
    if (!('setSecureContext' in app.server) && !trustProxy) {
      app.log.warn(
        '@parapet/security-headers: the option "https" refuses every request, because this server has no TLS and Fastify has no "trustProxy". Set trustProxy to the address of the proxy that ends TLS',
      )
    }
    done()
  })
}

/** @param pending never rejects. */
async function after(pending: Promise<void>, next: () => void): Promise<void> {
  await pending
  next()
}
