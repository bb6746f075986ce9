/** Puts the block on every reply, and keeps out of replies what does not belong there. */
import type { Principal, SecurityEvents } from '@parapet/kit'
import { takeRandom } from '@parapet/kit'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { NO_STORE } from './block.ts'
import type { Catalog, RouteEntry } from './catalog.ts'
import { findCookieFlaws } from './cookies.ts'
import { addVary, type CompiledCors } from './cors.ts'
import {
  PARAPET_SECURITY_HEADERS_NO_NONCE,
  PARAPET_SECURITY_HEADERS_WEAK_COOKIE,
} from './errors.ts'
import type { SecurityHeadersSettings } from './options.ts'
import { revealingHeaders } from './revealing-headers.ts'

/** What a browser can be told to forget. @see W3C Clear Site Data, section 3.1 */
export type SiteData = 'cache' | 'cookies' | 'storage' | 'executionContexts'

/** The compiled rule, on a copy of the route's config. */
export const kEntry = Symbol('@parapet/security-headers:entry')

/** The route's config as this plugin sees it. Its type promises nothing: JavaScript may have written it. */
export interface RouteConfig {
  readonly [kEntry]?: RouteEntry
  readonly securityHeaders?: unknown
}

type Shadowed = 'header' | 'send' | 'hijack'
type Method = (this: FastifyReply, ...args: unknown[]) => FastifyReply
/** What the hook does to replies. */
export interface Replies {
  /** Sets a header without looking at it. */
  readonly set: (reply: FastifyReply, name: string, value: string) => void
  /** Sets the block. @returns `false`: the route has a rule that nobody compiled. */
  readonly apply: (request: FastifyRequest, reply: FastifyReply) => boolean
}

type Nonce = FastifyReply['cspNonce']
type NoncedReply = FastifyReply & { [kNonce]?: Nonce }

const kNonce = Symbol('@parapet/security-headers:nonce')
/** 128 bits. @see W3C CSP Level 3, section 7.1 */
const NONCE_BYTES = 16
/** Cookie names that were told already; an app that makes up names is told no more of them. */
const MAX_TOLD = 1000

interface Parts {
  readonly catalog: Catalog
  readonly cors: CompiledCors | null
  readonly settings: SecurityHeadersSettings
  readonly securityEvents: SecurityEvents
  readonly principalOf: (request: FastifyRequest) => Principal | null
}

/** Decorates replies. @returns what sets the block. */
export function decorateReplies(app: FastifyInstance, parts: Parts): Replies {
  const { catalog } = parts
  const kept = Object.keys(catalog.base.policy.relax)
  const revealing = new Set(revealingHeaders.filter((name) => !kept.includes(name)))
  const audit = createCookieAudit(parts)
  const amend = createAmender(parts)

  // Fastify's own methods stay where they are: these stand in front of them on this app's replies.
  const fastify = { header: once('header', header), send: once('send', send) }
  app.decorateReply('header', header as never)
  app.decorateReply('send', send as never)
  app.decorateReply('hijack', hijack as never)
  app.decorateReply('cspNonce', { getter: createNonceReader(catalog, fastify.header) } as never)
  app.decorateReply('clearSiteData', clearSiteData as never)
  return {
    set: (reply, name, value) => void fastify.header(reply).call(reply, name, value),
    apply: createApplier(catalog.base, fastify.header),
  }

  function header(this: FastifyReply, name: string, value: unknown): FastifyReply {
    const key = name.toLowerCase()
    if (revealing.has(key)) return this
    if (key === 'set-cookie') audit(value, this.request)
    return fastify.header(this).call(this, key, amend(this, key, value))
  }

  /** Every reply passes here once it has its last words, and before its first byte. */
  function send(this: FastifyReply, payload: unknown): FastifyReply {
    for (const name of this.raw.getHeaderNames()) {
      if (revealing.has(name)) this.raw.removeHeader(name)
    }
    const said = this.getHeader('cache-control')
    const amended = said === NO_STORE ? said : amend(this, 'cache-control', said)
    if (amended !== said) fastify.header(this).call(this, 'cache-control', amended)
    return fastify.send(this).call(this, payload)
  }
}

function createApplier(
  base: RouteEntry,
  headerOf: (reply: FastifyReply) => Method,
): Replies['apply'] {
  return (request, reply) => {
    const config = request.routeOptions.config as RouteConfig | undefined
    const entry = config?.[kEntry]
    const { names, values } = (entry ?? base).block
    if (entry !== undefined) dropRaw(reply, base.block.names)
    const set = headerOf(reply)
    for (let index = 0; index < names.length; index++) set.call(reply, names[index]!, values[index])
    return config?.securityHeaders === undefined || entry !== undefined
  }
}

/**
 * A handler knows neither who asks nor from where: what it says of caching is completed. A nonce is
 * for one reply: kept, it would be the next one's as well, or be told with another by a 304.
 */
function createAmender({ catalog, cors, principalOf }: Parts) {
  const isSomeone = (request: FastifyRequest): boolean => {
    try {
      return principalOf(request) !== null
    } catch {
      // Who cannot be told apart from someone is treated as someone.
      return true
    }
  }
  return (reply: NoncedReply, name: string, value: unknown): unknown => {
    if (name === 'vary' && cors?.varies === true) return addVary(value, 'Origin')
    if (name !== 'cache-control' || says(value, NOT_KEPT)) return value
    const { request } = reply
    if (reply[kNonce] === undefined && (says(value, PRIVATE) || !isSomeone(request))) return value
    return entryOf(request, catalog).block.cacheControl === 'handler' ? value : NO_STORE
  }
}

/** Draws the nonce of a reply when it is first read, and opens the policy to it. */
function createNonceReader(catalog: Catalog, headerOf: (reply: FastifyReply) => Method) {
  return function drawNonce(this: NoncedReply): Nonce {
    if (this[kNonce] !== undefined) return this[kNonce]
    const { nonced } = entryOf(this.request, catalog).block
    if (nonced.length === 0) {
      throw new PARAPET_SECURITY_HEADERS_NO_NONCE('the policy of this route has no place for one')
    }
    if (this.sent || this.raw.headersSent) {
      throw new PARAPET_SECURITY_HEADERS_NO_NONCE('its headers have left already')
    }
    const nonce = takeRandom(NONCE_BYTES).toString('base64')
    const set = headerOf(this)
    for (const { name, parts } of nonced) set.call(this, name, parts.join(nonce))
    return (this[kNonce] = Object.freeze({ script: nonce, style: nonce }))
  }
}

/** The entry of a request's route. */
export function entryOf(request: FastifyRequest, catalog: Catalog): RouteEntry {
  return (request.routeOptions.config as RouteConfig | undefined)?.[kEntry] ?? catalog.base
}

/** No cache keeps it. */
const NOT_KEPT = /(?:^|[\s,])no-store(?:[\s,]|$)/i
/** No cache that others use keeps it. `private="name"` speaks of one header only. */
const PRIVATE = /(?:^|[\s,])private(?:[\s,]|$)/i

function says(cacheControl: unknown, what: RegExp): boolean {
  return typeof cacheControl === 'string' && what.test(cacheControl)
}

/** Takes back what was set in case no route was found. */
function dropRaw({ raw }: FastifyReply, names: readonly string[]): void {
  for (const name of raw.getHeaderNames()) if (names.includes(name)) raw.removeHeader(name)
}

/** A hijacked reply is written by hand, so what is set so far goes where that hand will find it. */
function hijack(this: FastifyReply): FastifyReply {
  if (!this.raw.headersSent) {
    for (const [name, value] of Object.entries(this.getHeaders())) {
      if (value !== undefined && !this.raw.hasHeader(name)) this.raw.setHeader(name, value)
    }
  }
  return behind(this, 'hijack', hijack).call(this)
}

function clearSiteData(this: FastifyReply, ...kinds: readonly SiteData[]): FastifyReply {
  const list = kinds.length === 0 ? ['cache', 'cookies', 'storage'] : kinds
  return this.header('clear-site-data', list.map((kind) => `"${kind}"`).join(','))
}

/** The method of the same name that `own` stands in front of. */
function behind(reply: FastifyReply, name: Shadowed, own: unknown): Method {
  let holder = Object.getPrototypeOf(reply) as Record<string, Method>
  while (!Object.hasOwn(holder, name) || holder[name] !== own) {
    holder = Object.getPrototypeOf(holder) as Record<string, Method>
  }
  return (Object.getPrototypeOf(holder) as Record<string, Method>)[name]!
}

/** The same, looked up at the first reply: for all of an app it is one. */
function once(name: Shadowed, own: unknown): (reply: FastifyReply) => Method {
  let method: Method | undefined
  return (reply) => (method ??= behind(reply, name, own))
}

function createCookieAudit({ settings, securityEvents }: Parts) {
  const { mode, readable } = settings.cookies
  const readableNames = new Set(readable)
  const told = new Set<string>()
  return (value: unknown, request: FastifyRequest): void => {
    if (mode === 'off') return
    for (const cookie of Array.isArray(value) ? (value as unknown[]) : [value]) {
      const flaws = findCookieFlaws(String(cookie), readableNames)
      if (flaws === null) continue
      const { name, faults } = flaws
      if (!told.has(name) && told.size < MAX_TOLD) {
        told.add(name)
        securityEvents.emit(
          'security_headers.cookie_flagged',
          { details: { cookie: name, faults } },
          request,
        )
      }
      if (mode === 'strict') throw new PARAPET_SECURITY_HEADERS_WEAK_COOKIE(name, faults.join(', '))
    }
  }
}
