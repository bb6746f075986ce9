/**
 * Sets the header block, and replaces the methods of replies to check what else is sent. `onSend` hooks
 * could not do this: other plugins may set headers in later hooks.
 */
import type { FastifyInstance, FastifyReply } from 'fastify'
import type { CookieSettings } from '../../headers/cookie-check.ts'
import { isTargeted } from '../../policy/cache-control.ts'
import type { Parts } from '../request/parts.ts'
import { setRaw } from '../server/raw-replies.ts'
import { createCacheGuard, kTargeted, markTargeted } from './cache-control.ts'
import { createNonceGetter, hasNonce } from './csp-nonce.ts'
import { addFailures } from './failed.ts'
import { createForeignHeaders, type ForeignHeaders } from './foreign-headers.ts'
import { createReplyAccess, rawAccess } from './header-access.ts'
import { decorateHijack } from './hijacked.ts'
import { createMethodLookup, type Method } from './replaced-method.ts'
import { decorateSend } from './send.ts'
import { kApplied, type ReplyHeaders, type Services } from './services.ts'
import { createValueChecks, kindsOf, type Kind } from './values.ts'

/** What a browser can be told to delete. @see W3C Clear Site Data, section 3.1 */
export type SiteData = 'cache' | 'cookies' | 'storage' | 'executionContexts'

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
  const cache = createCacheGuard(parts)
  const foreign = createForeignHeaders(parts)
  const headerOf = createMethodLookup('header', header)
  const set: ReplyHeaders['set'] = (reply, name, value) =>
    void headerOf(reply).call(reply, name, value)
  const headers = createReplyAccess(set)
  const values = createValueChecks(parts, settings.cookies, cache, headers)
  const apply = createBlockSetter(parts, headerOf, foreign)
  const kinds = kindsOf(settings.relax)
  const services: Services = { parts, kinds, foreign, cache, values, headers, set, apply }

  app.decorateReply(kApplied, false)
  app.decorateReply(kTargeted, false)
  app.decorateReply('header', header as never)
  app.decorateReply('cspNonce', { getter: createNonceGetter(parts, set) } as never)
  app.decorateReply('clearSiteData', clearSiteData as never)
  decorateSend(app, services)
  decorateHijack(app, services)
  addFailures(app, services)
  return {
    set,
    apply,
    keepPersonal: (reply) => cache.correct(reply, reply.sent ? rawAccess : headers),
  }

  function header(this: FastifyReply, name: string, value: unknown): FastifyReply {
    const key = name.toLowerCase()
    const kind = kinds.get(key) ?? (isTargeted(key) ? 'targeted' : undefined)
    if (kind === undefined) return headerOf(this).call(this, key, values.complete(this, key, value))
    if (isDropped(this, kind, key, value)) return this
    headerOf(this).call(this, key, values.complete(this, key, value))
    if (kind === 'targeted') markTargeted(this)
    if (kind === 'targeted' || PERSONAL.has(key)) cache.correct(this, headers)
    return this
  }

  function isDropped(reply: FastifyReply, kind: Kind, name: string, value: unknown): boolean {
    if (kind === 'revealing') return true
    if (kind === 'validator') return hasNonce(reply)
    return kind === 'guarded' && foreign.drops(reply, name, value)
  }
}

/** Headers that make a response personal. */
const PERSONAL = new Set(['set-cookie', 'clear-site-data'])

function createBlockSetter(
  { base, middleware, isPlainHttp }: Parts,
  headerOf: (reply: FastifyReply) => Method,
  { watchProxy }: ForeignHeaders,
): ReplyHeaders['apply'] {
  return (reply: FastifyReply & { [kApplied]?: boolean }, block) => {
    reply[kApplied] = true
    watchProxy(reply)
    // The listeners for raw responses may have set the base block already.
    if (block !== base.block) removeRaw(reply, base.block.names)
    const { names, values } = block
    const header = headerOf(reply)
    for (let index = 0; index < names.length; index++) {
      header.call(reply, names[index]!, values[index])
    }
    // Middleware of @fastify/middie writes to `reply.raw`.
    if (middleware.isPresent) setRaw(reply.raw, block)
    if (isPlainHttp(reply.request)) reply.removeHeader('strict-transport-security')
  }
}

function removeRaw({ raw }: FastifyReply, names: readonly string[]): void {
  for (const name of raw.getHeaderNames()) if (names.includes(name)) raw.removeHeader(name)
}

function clearSiteData(this: FastifyReply, ...kinds: readonly SiteData[]): FastifyReply {
  const list = kinds.length === 0 ? ['cache', 'cookies', 'storage'] : kinds
  return this.header('clear-site-data', list.map((kind) => `"${kind}"`).join(','))
}
