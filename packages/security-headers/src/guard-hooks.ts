/** Who comes in: over https, from which origin, and with which token. */
import type { Principal, SecurityEvents } from '@parapet/kit'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { entryOf, type Replies } from './reply-hooks.ts'
import type { Catalog } from './catalog.ts'
import { addVary, PREFLIGHT_VARY, type CompiledCors } from './cors.ts'
import {
  PARAPET_SECURITY_HEADERS_CROSS_SITE,
  PARAPET_SECURITY_HEADERS_HTTPS_REQUIRED,
  PARAPET_SECURITY_HEADERS_MISSED_ROUTE,
} from './errors.ts'
import { decideIsolation, type IsolationReason, type IsolationScope } from './isolation.ts'
import type { SecurityHeadersSettings } from './options.ts'

/** What the guards need. */
export interface GuardParts {
  readonly catalog: Catalog
  readonly cors: CompiledCors | null
  readonly settings: SecurityHeadersSettings
  readonly securityEvents: SecurityEvents
  readonly principalOf: (request: FastifyRequest) => Principal | null
}

/** Adds the hook that sets the block and decides before a byte of the body is read. */
export function useGuards(app: FastifyInstance, parts: GuardParts, replies: Replies): void {
  const { catalog, cors, settings, securityEvents } = parts
  const secureHosts = settings.https === undefined ? null : new Set(settings.https.hosts)
  const trusted = new Set(settings.isolation.trustedOrigins)
  const trusts = (origin: string): boolean =>
    trusted.has(origin) || (cors !== null && cors.varies && cors.allows(origin))

  app.addHook('onRequest', function securityHeadersGuard(request, reply, done) {
    if (!replies.apply(request, reply)) return done(new PARAPET_SECURITY_HEADERS_MISSED_ROUTE())
    if (secureHosts !== null && request.protocol === 'http') {
      reply.removeHeader('strict-transport-security')
      const target = redirectOf(request, entryOf(request, catalog).page, secureHosts)
      if (target === null) return done(new PARAPET_SECURITY_HEADERS_HTTPS_REQUIRED())
      void reply.redirect(target, 308)
      return
    }
    if (cors !== null && answerCors(request, reply, cors, replies.set)) return
    const { headers } = request
    const site = headers['sec-fetch-site']
    // A page of this origin, or no browser at all: most requests end here.
    if (site === 'same-origin' || (site === undefined && isPlain(request.method, headers))) {
      return done()
    }
    const { isolation: scope } = entryOf(request, catalog)
    const isolated = judge(request, scope, trusts)
    if (isolated === null || isReadByAnyone(request, cors)) return done()
    securityEvents.emit(
      'security_headers.request_isolated',
      { details: { reason: isolated, ...describe(request) } },
      request,
    )
    done(new PARAPET_SECURITY_HEADERS_CROSS_SITE())
  })
}

function isPlain(method: string, headers: FastifyRequest['headers']): boolean {
  if ((method === 'GET' || method === 'HEAD') && headers.upgrade === undefined) return true
  return headers.origin === undefined && headers.referer === undefined
}

function judge(
  { method, headers, host }: FastifyRequest,
  scope: IsolationScope,
  trusts: (origin: string) => boolean,
): IsolationReason | null {
  return decideIsolation(
    {
      method,
      site: one(headers['sec-fetch-site']),
      mode: one(headers['sec-fetch-mode']),
      dest: one(headers['sec-fetch-dest']),
      origin: headers.origin,
      referer: headers.referer,
      upgrade: headers.upgrade !== undefined,
      host,
    },
    { scope, trusts },
  )
}

/** Data that CORS gives to everyone is read by everyone, but nothing else is. */
function isReadByAnyone(request: FastifyRequest, cors: CompiledCors | null): boolean {
  if (cors === null || cors.varies || request.headers['sec-fetch-mode'] !== 'cors') return false
  return request.method === 'GET' || request.method === 'HEAD'
}

/** @returns whether the request was a preflight and is answered. */
function answerCors(
  request: FastifyRequest,
  reply: FastifyReply,
  cors: CompiledCors,
  set: Replies['set'],
): boolean {
  const { headers, method } = request
  const { origin } = headers
  const requestMethod = headers['access-control-request-method']
  if (method === 'OPTIONS' && origin !== undefined && requestMethod !== undefined) {
    const answer = cors.preflight({
      origin,
      requestMethod,
      requestHeaders: headers['access-control-request-headers'],
      privateNetwork: headers['access-control-request-private-network'] === 'true',
    })
    for (const [name, value] of answer ?? []) set(reply, name, value)
    set(reply, 'vary', PREFLIGHT_VARY)
    void reply.code(answer === null ? 403 : 204).send()
    return true
  }
  if (cors.varies) {
    const before = reply.getHeader('vary')
    set(reply, 'vary', before === undefined ? 'Origin' : addVary(before, 'Origin'))
  }
  if (origin !== undefined && cors.allows(origin)) {
    set(reply, 'access-control-allow-origin', cors.allowOriginValue(origin))
    const { actual } = cors
    for (let index = 0; index < actual.length; index++) {
      const header = actual[index]!
      set(reply, header[0], header[1])
    }
  }
  return false
}

function redirectOf(
  { method, host, url, headers }: FastifyRequest,
  page: boolean,
  hosts: ReadonlySet<string>,
): string | null {
  // A program that is sent on would have sent its secrets in the clear already, and go on doing so.
  const browses = page && headers.authorization === undefined
  if (!browses || (method !== 'GET' && method !== 'HEAD') || !hosts.has(host)) return null
  return `https://${host}${url.startsWith('/') ? url : '/'}`
}

const KNOWN = /^[a-z-]{1,24}$/

function describe({ method, headers }: FastifyRequest) {
  const word = (name: string) => {
    const value = one(headers[name])
    return value === undefined ? '' : KNOWN.test(value) ? value : 'other'
  }
  return {
    method,
    site: word('sec-fetch-site'),
    mode: word('sec-fetch-mode'),
    dest: word('sec-fetch-dest'),
  }
}

/** A header that was sent twice is joined by Node or is a list; neither is what a browser sends. */
function one(value: string | readonly string[] | undefined): string | undefined {
  return typeof value === 'string' ? value : value?.join(', ')
}
