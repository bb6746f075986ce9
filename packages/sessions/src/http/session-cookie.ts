/** The cookies that carry tokens. */
import type { CookieSerializeOptions } from '@fastify/cookie'
import { readCookie } from '@parapet/kit'
import type { FastifyReply, FastifyRequest } from 'fastify'

/** The cookie with the access token. */
export const SESSION_COOKIE = '__Host-session'
/** The cookie with the refresh token. */
export const REFRESH_COOKIE = '__Host-refresh'
/** The cookie with the ticket of a login that waits for its second step. */
export const TICKET_COOKIE = '__Host-login-ticket'
/** The cookie of a login at a provider is named by this and its state: two tabs do not share one. */
export const SINGLE_SIGN_ON_COOKIE = '__Host-single-sign-on-'

/**
 * The attributes of every cookie. No other host of the domain can set a `__Host-` cookie, and it is
 * never sent over plain HTTP. `signed` and `domain` are listed because defaults that the application
 * gave `@fastify/cookie` would apply otherwise.
 *
 * @see RFC 6265bis, section 4.1.3.2
 */
const HOST_COOKIE: CookieSerializeOptions = {
  path: '/',
  httpOnly: true,
  secure: true,
  signed: false,
  ...({ domain: undefined } as object),
}

/** A cookie of this plugin. */
export interface HostCookie {
  /** From the header itself, because an application may make `@fastify/cookie` parse it later. */
  read(request: FastifyRequest): string | undefined
  set(reply: FastifyReply, value: string, maxAgeSeconds: number): void
  clear(reply: FastifyReply): void
}

/** Creates the reader and writer of one cookie. */
export function createHostCookie(
  name: string,
  sameSite: NonNullable<CookieSerializeOptions['sameSite']>,
): HostCookie {
  const attributes = { ...HOST_COOKIE, sameSite }
  return {
    read: ({ headers }) => readCookie(headers.cookie, name),
    set(reply, value, maxAge) {
      void reply.setCookie(name, value, { ...attributes, maxAge })
    },
    clear(reply) {
      void reply.clearCookie(name, attributes)
    },
  }
}

/** The names in a `Cookie` header that are names of cookies, in the order in which they were sent. */
export function readCookieNames(header: string | undefined): string[] {
  return (header ?? '').split(';').flatMap((pair) => /^[ \t]*([\w-]+)=/.exec(pair)?.[1] ?? [])
}

/** Whether a `Cookie` header contains a cookie of this plugin: the client works with cookies. */
export function hasOwnCookie(header: string | undefined): boolean {
  if (header === undefined) return false
  const own = [SESSION_COOKIE, REFRESH_COOKIE, TICKET_COOKIE]
  return readCookieNames(header).some(
    (name) => own.includes(name) || name.startsWith(SINGLE_SIGN_ON_COOKIE),
  )
}
