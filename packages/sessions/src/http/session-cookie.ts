/** The cookies that carry tokens. */
import type { CookieSerializeOptions } from '@fastify/cookie'
import { readCookie } from '@parapet/kit'
import type { FastifyReply, FastifyRequest } from 'fastify'

/** Settings of the cookies; the option `cookies` with its defaults filled in. */
export interface CookieSettings {
  readonly sameSite: 'strict' | 'lax'
  readonly trustedOrigins: readonly string[]
}

/** The cookie with the access token. */
export const SESSION_COOKIE = '__Host-session'
/** The cookie with the refresh token. */
export const REFRESH_COOKIE = '__Host-refresh'
/** The cookie of a login at a provider. */
export const SINGLE_SIGN_ON_COOKIE = '__Host-single-sign-on'

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
