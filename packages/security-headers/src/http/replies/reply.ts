/**
 * Sets the header block, and replaces `reply.header`, `reply.send` and `reply.hijack` to check what
 * else is sent. `onSend` hooks could not do this: other plugins may set headers in later hooks.
 */
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { corsHeaders } from '../../cors/cors-headers.ts'
import { addVary } from '../../cors/vary.ts'
import type { Block } from '../../headers/block.ts'
import { createCookieCheck, type CookieSettings } from '../../headers/cookie-check.ts'
import { revealingHeaders } from '../../headers/revealing-headers.ts'
import { policyHeaders } from '../../policy/relax.ts'
import { NO_STORE } from '../../policy/cache-control.ts'
import { createCacheControl } from './cache-control.ts'
import { createNonceGetter, hasNonce, removeNonceHeaders } from './csp-nonce.ts'
import { createForeignHeaders, type ForeignHeaders } from './foreign-headers.ts'
import { createPageCheck } from './pages.ts'
import type { Parts } from '../request/parts.ts'

/** What a browser can be told to delete. @see W3C Clear Site Data, section 3.1 */
export type SiteData = 'cache' | 'cookies' | 'storage' | 'executionContexts'

type ReplacedMethod = 'header' | 'send' | 'hijack'
type Method = (this: FastifyReply, ...args: unknown[]) => FastifyReply

/** What the hooks use to set headers. */
export interface ReplyHeaders {
  /** Sets a header without checks. */
  readonly set: (reply: FastifyReply, name: string, value: string) => void
  /** Sets every header of a block. */
  readonly apply: (reply: FastifyReply, block: Block) => void
}

/** The settings that change what responses may carry. */
interface ReplySettings {
  /** Revealing headers that are allowed, by lower-case name. */
  readonly relax: Readonly<Record<string, string>>
  readonly cookies: CookieSettings
}

/** Decorates replies. @returns the functions that set headers past these decorators. */
export function decorateReply(
  app: FastifyInstance,
  parts: Parts,
  settings: ReplySettings,
): ReplyHeaders {
  const kinds = kindsOf(settings.relax)
  const foreign = createForeignHeaders(parts)
  const completeCacheControl = createCacheControl(parts)
  const complete = createValueCompletion(parts, settings.cookies, completeCacheControl)
  const headerOf = createMethodLookup('header', header)
  const sendOf = createMethodLookup('send', send)
  const set: ReplyHeaders['set'] = (reply, name, value) =>
    void headerOf(reply).call(reply, name, value)

  const log = process.env['NODE_ENV'] === 'production' ? null : app.log
  const checkPage = createPageCheck(parts, log, set)

  app.decorateReply('header', header as never)
  app.decorateReply('send', send as never)
  app.decorateReply('hijack', hijack as never)
  app.decorateReply('cspNonce', { getter: createNonceGetter(parts, set) } as never)
  app.decorateReply('clearSiteData', clearSiteData as never)
  // Errors of later hooks do not pass `send` before Fastify copies their headers.
  app.addHook('onError', function securityHeadersForeign(_request, reply, error, done) {
    foreign.note(reply, error)
    done()
  })
  return { set, apply: createBlockSetter(parts.base.block, headerOf, foreign) }

  function header(this: FastifyReply, name: string, value: unknown): FastifyReply {
    const key = name.toLowerCase()
    const kind = kinds.get(key)
    if (kind !== undefined && isDropped(this, kind, key, value)) return this
    return headerOf(this).call(this, key, complete(this, key, value))
  }

  function isDropped(reply: FastifyReply, kind: Kind, name: string, value: unknown): boolean {
    if (kind === 'revealing') return true
    return kind === 'guarded' ? foreign.drops(reply, name, value) : hasNonce(reply)
  }

  /** Fastify calls `send` for every response, before the first byte and after the handler. */
  function send(this: FastifyReply, payload: unknown): FastifyReply {
    for (const name of this.raw.getHeaderNames()) {
      if (kinds.get(name) === 'revealing') this.raw.removeHeader(name)
    }
    foreign.note(this, payload)
    checkPage(this, payload)
    if (this.raw.statusCode === 304) removeNonceHeaders(this, parts)
    const before = this.getHeader('cache-control')
    const completed = before === NO_STORE ? before : completeCacheControl(this, before)
    if (completed !== before) headerOf(this).call(this, 'cache-control', completed)
    return sendOf(this).call(this, payload)
  }
}

/** Headers that `reply.header` does not always set. A validator would name a page by its old nonce. */
type Kind = 'revealing' | 'guarded' | 'validator'

function kindsOf(relax: ReplySettings['relax']): ReadonlyMap<string, Kind> {
  return new Map<string, Kind>([
    ...[...policyHeaders, ...corsHeaders].map((name) => [name, 'guarded'] as const),
    ['etag', 'validator'],
    ['last-modified', 'validator'],
    ...revealingHeaders
      .filter((name) => !(name in relax))
      .map((name) => [name, 'revealing'] as const),
  ])
}

/** Creates the check and completion of a header that a handler sets. */
function createValueCompletion(
  { cors, securityEvents }: Parts,
  cookies: CookieSettings,
  completeCacheControl: (reply: FastifyReply, value: unknown) => unknown,
): (reply: FastifyReply, name: string, value: unknown) => unknown {
  const varies = cors?.varies === true
  const checkCookies = createCookieCheck<FastifyRequest>(cookies, ({ name, faults }, request) => {
    const details = { cookie: name, faults }
    securityEvents.emit('security_headers.cookie_flagged', { details }, request)
  })
  return (reply, name, value) => {
    if (name === 'cache-control') return completeCacheControl(reply, value)
    if (name === 'set-cookie') checkCookies(value, reply.request)
    return name === 'vary' && varies ? addVary(value, 'Origin') : value
  }
}

function createBlockSetter(
  base: Block,
  headerOf: (reply: FastifyReply) => Method,
  { watchProxy }: ForeignHeaders,
): ReplyHeaders['apply'] {
  return (reply, block) => {
    watchProxy(reply)
    // The listeners for raw responses may have set the base block already.
    if (block !== base) removeRaw(reply, base.names)
    const { names, values } = block
    const header = headerOf(reply)
    for (let index = 0; index < names.length; index++) {
      header.call(reply, names[index]!, values[index])
    }
  }
}

function removeRaw({ raw }: FastifyReply, names: readonly string[]): void {
  for (const name of raw.getHeaderNames()) if (names.includes(name)) raw.removeHeader(name)
}

/** The handler of a hijacked reply writes to `reply.raw`, so the headers must be set there. */
function hijack(this: FastifyReply): FastifyReply {
  if (!this.raw.headersSent) {
    for (const [name, value] of Object.entries(this.getHeaders())) {
      if (value !== undefined && !this.raw.hasHeader(name)) this.raw.setHeader(name, value)
    }
  }
  return findReplacedMethod(this, 'hijack', hijack).call(this)
}

function clearSiteData(this: FastifyReply, ...kinds: readonly SiteData[]): FastifyReply {
  const list = kinds.length === 0 ? ['cache', 'cookies', 'storage'] : kinds
  return this.header('clear-site-data', list.map((kind) => `"${kind}"`).join(','))
}

/** Finds the method that `replacement` replaces: the next one in the prototype chain. */
function findReplacedMethod(
  reply: FastifyReply,
  name: ReplacedMethod,
  replacement: unknown,
): Method {
  let holder = Object.getPrototypeOf(reply) as Record<string, Method>
  while (!Object.hasOwn(holder, name) || holder[name] !== replacement) {
    holder = Object.getPrototypeOf(holder) as Record<string, Method>
  }
  return (Object.getPrototypeOf(holder) as Record<string, Method>)[name]!
}

/** Caches the lookup: the method is the same for every reply of an app. */
function createMethodLookup(
  name: ReplacedMethod,
  replacement: unknown,
): (reply: FastifyReply) => Method {
  let method: Method | undefined
  return (reply) => (method ??= findReplacedMethod(reply, name, replacement))
}
