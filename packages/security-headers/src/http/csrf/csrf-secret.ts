/** Stores the CSRF secret of a browser in a cookie or in a session. */
import { readCookie } from '@parapet/kit'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import {
  PARAPET_SECURITY_HEADERS_INVALID_OPTION,
  PARAPET_SECURITY_HEADERS_NO_TOKEN,
} from '../../errors.ts'

/** The plugins that can store the secret. */
export type CsrfSessionPlugin = '@fastify/cookie' | '@fastify/session' | '@fastify/secure-session'

/** Where the secret of a browser is stored. */
export interface SecretStorage {
  /** `undefined` or `''`: there is no secret. */
  read(request: FastifyRequest): string | undefined
  write(reply: FastifyReply, secret: string): void
}

/** The key of the secret in a session. */
const SESSION_KEY = '_csrf'

/** The methods and members that the session plugins add, without a dependency on their types. */
interface SessionRequest {
  readonly session: Record<string, unknown>
}
interface SecureSessionRequest {
  readonly session: { get(key: string): unknown; set(key: string, value: string): void }
}

/**
 * Selects the storage.
 *
 * @throws PARAPET_SECURITY_HEADERS_INVALID_OPTION the session plugin is not registered yet.
 */
export function createSecretStorage(
  app: FastifyInstance,
  plugin: CsrfSessionPlugin,
  cookieName: string,
): SecretStorage {
  const isRegistered =
    plugin === '@fastify/cookie'
      ? app.hasReplyDecorator('setCookie')
      : app.hasRequestDecorator('session')
  if (!isRegistered) {
    throw new PARAPET_SECURITY_HEADERS_INVALID_OPTION(
      '@parapet/security-headers',
      `  "csrf.sessionPlugin" needs ${plugin}, which is not registered: register ${plugin} first`,
    )
  }
  if (plugin === '@fastify/cookie') return createCookieStorage(cookieName)
  return plugin === '@fastify/session' ? sessionStorage : secureSessionStorage
}

function createCookieStorage(name: string): SecretStorage {
  return {
    // Not `request.cookies`: its parser would also accept a cookie that a sibling host has set.
    read: (request) => readCookie(request.headers.cookie, name),
    // Not `reply.setCookie`: it adds its header in an `onSend` hook, which hijacked replies do not run.
    write: (reply, secret) => {
      const cookie = `${name}=${secret}; Path=/; HttpOnly; Secure; SameSite=Strict`
      if (reply.raw.headersSent) throw new PARAPET_SECURITY_HEADERS_NO_TOKEN(TOO_LATE)
      if (reply.sent) appendRaw(reply, cookie)
      else void reply.header('set-cookie', cookie)
    },
  }
}

const TOO_LATE = 'the headers are already sent; read reply.csrfToken before the response starts'

/** The handler of a hijacked reply may have set cookies on `reply.raw`. */
function appendRaw({ raw }: FastifyReply, cookie: string): void {
  const before = [raw.getHeader('set-cookie') ?? []].flat().map(String)
  raw.setHeader('set-cookie', [...before, cookie])
}

const sessionStorage: SecretStorage = {
  read: (request) => textOf((request as unknown as SessionRequest).session[SESSION_KEY]),
  write: ({ request }, secret) => {
    ;(request as unknown as SessionRequest).session[SESSION_KEY] = secret
  },
}

const secureSessionStorage: SecretStorage = {
  read: (request) => textOf((request as unknown as SecureSessionRequest).session.get(SESSION_KEY)),
  write: ({ request }, secret) => {
    ;(request as unknown as SecureSessionRequest).session.set(SESSION_KEY, secret)
  },
}

function textOf(value: unknown): string | undefined {
  return typeof value === 'string' ? value : undefined
}
