/** Checks and completes the values of headers that handlers set. */
import type { FastifyReply, FastifyRequest } from 'fastify'
import { corsHeaders } from '../../cors/cors-headers.ts'
import { addVary } from '../../cors/vary.ts'
import { createCookieCheck, type CookieSettings } from '../../headers/cookie-check.ts'
import { revealingHeaders } from '../../headers/revealing-headers.ts'
import { targetedNames } from '../../policy/cache-control.ts'
import { originWideHeaders } from '../../policy/origin-wide.ts'
import { policyHeaders } from '../../policy/relax.ts'
import type { Parts } from '../request/parts.ts'
import type { CacheGuard } from './cache-control.ts'
import { rawAccess, type HeaderAccess } from './header-access.ts'

/** Headers that need more than to be set. A validator would name a page by its old nonce. */
export type Kind = 'revealing' | 'guarded' | 'validator' | 'targeted' | 'cookie'

/** The kinds of headers by lower-case name. @param relax the revealing headers that are allowed. */
export function kindsOf(relax: Readonly<Record<string, string>>): ReadonlyMap<string, Kind> {
  return new Map<string, Kind>([
    ...[...policyHeaders, ...corsHeaders, ...originWideHeaders].map(
      (name) => [name, 'guarded'] as const,
    ),
    ...targetedNames.map((name) => [name, 'targeted'] as const),
    ['etag', 'validator'],
    ['last-modified', 'validator'],
    ['set-cookie', 'cookie'],
    ...revealingHeaders
      .filter((name) => !(name in relax))
      .map((name) => [name, 'revealing'] as const),
  ])
}

/** The checks. */
export interface ValueChecks {
  /** @returns the value that is sent. @throws PARAPET_SECURITY_HEADERS_WEAK_COOKIE in strict mode */
  readonly complete: (reply: FastifyReply, name: string, value: unknown) => unknown
  /** The same for all headers of a hijacked reply. In strict mode it leaves weak cookies out. */
  readonly completeRaw: (reply: FastifyReply) => void
}

/** Creates the checks. */
export function createValueChecks(
  { cors, securityEvents }: Parts,
  cookies: CookieSettings,
  cache: CacheGuard,
  headers: HeaderAccess,
): ValueChecks {
  const varies = cors?.varies === true
  const checkCookies = createCookieCheck<FastifyRequest>(cookies, ({ name, faults }, request) => {
    const details = { cookie: name, faults }
    securityEvents.emit('security_headers.cookie_flagged', { details }, request)
  })
  /** An error would leave the request without an answer: Fastify sends none for a hijacked reply. */
  const isStrong = ({ request }: FastifyReply, cookie: unknown): boolean => {
    try {
      checkCookies(cookie, request)
      return true
    } catch (error) {
      request.log.error({ err: error }, 'a hijacked reply is sent without its weak cookie')
      return false
    }
  }
  return {
    complete(reply, name, value) {
      if (name === 'cache-control') return cache.complete(reply, value, headers)
      if (name === 'set-cookie') checkCookies(value, reply.request)
      return name === 'vary' && varies ? addVary(value, 'Origin') : value
    },
    completeRaw(reply) {
      const { raw } = reply
      const set = [raw.getHeader('set-cookie') ?? []].flat()
      const strong = set.filter((cookie) => isStrong(reply, cookie)).map(String)
      if (strong.length === 0) raw.removeHeader('set-cookie')
      else if (strong.length < set.length) raw.setHeader('set-cookie', strong)
      if (varies) rawAccess.set(reply, 'vary', addVary(raw.getHeader('vary'), 'Origin'))
    },
  }
}
