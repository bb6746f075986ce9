/** The `onRequest` hook: sets the header block, then decides on https, CORS and fetch metadata. */
import { missedRoute } from '@parapet/kit'
import type { FastifyInstance } from 'fastify'
import {
  PARAPET_SECURITY_HEADERS_CROSS_SITE,
  PARAPET_SECURITY_HEADERS_HTTPS_REQUIRED,
  PARAPET_SECURITY_HEADERS_MISSED_ROUTE,
} from '../errors.ts'
import { httpsRedirect } from '../isolation/https-redirect.ts'
import { applyCors } from './cors.ts'
import { createIsolation, describeOrigin } from './fetch-metadata.ts'
import type { Parts } from './parts.ts'
import type { ReplyHeaders } from './reply.ts'

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
  const { base, rules, cors, securityEvents } = parts
  const secureHosts = https === undefined ? null : new Set(https.hosts)
  const isolate = createIsolation(parts, isolation.trustedOrigins)

  app.addHook('onRequest', function securityHeadersGuard(request, reply, done) {
    const rule = rules.of(request.routeOptions)
    const entry = rule === undefined || rule === missedRoute ? base : rule
    apply(reply, entry)
    if (rule === missedRoute) return done(new PARAPET_SECURITY_HEADERS_MISSED_ROUTE())
    if (secureHosts !== null && request.protocol === 'http') {
      // Browsers ignore HSTS over http. @see RFC 6797, section 8.1
      reply.removeHeader('strict-transport-security')
      const target = httpsRedirect(request, entry.page, secureHosts)
      if (target === null) return done(new PARAPET_SECURITY_HEADERS_HTTPS_REQUIRED())
      void reply.redirect(target, 308)
      return
    }
    if (cors !== null && applyCors(request, reply, cors, set)) return
    const reason = isolate(request)
    if (reason === null) return done()
    const details = { reason, ...describeOrigin(request) }
    securityEvents.emit('security_headers.request_isolated', { details }, request)
    done(new PARAPET_SECURITY_HEADERS_CROSS_SITE())
  })
}
