/** CSRF tokens through @fastify/csrf-protection, asked for where a cookie comes along. */
import fastifyCsrf from '@fastify/csrf-protection'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { entryOf } from './reply-hooks.ts'
import {
  PARAPET_SECURITY_HEADERS_CSRF_TOKEN,
  PARAPET_SECURITY_HEADERS_INVALID_OPTION,
  PARAPET_SECURITY_HEADERS_NO_TOKEN,
} from './errors.ts'
import type { GuardParts } from './guard-hooks.ts'
import type { SecurityHeadersSettings } from './options.ts'

const SAFE = new Set(['GET', 'HEAD', 'OPTIONS'])
/** The decorator by which each session plugin is known. */
const DECORATORS = {
  '@fastify/cookie': ['reply', 'setCookie'],
  '@fastify/session': ['request', 'session'],
  '@fastify/secure-session': ['request', 'session'],
} as const
const HEADER = 'csrf-token'
const kVerified = Symbol('@parapet/security-headers:csrf')
type CsrfSettings = NonNullable<SecurityHeadersSettings['csrf']>
type Verified = FastifyRequest & { [kVerified]?: boolean }

/**
 * Registers the library and asks for a token on every request that carries a cookie and may change
 * something. It decides after all `onRequest` hooks, so that the login has spoken, and before the
 * body is read, unless the token is a field of a form.
 */
export async function useCsrf(app: FastifyInstance, csrf: CsrfSettings, parts: GuardParts) {
  const { principalOf } = parts
  refuseMissingSession(app, csrf.sessionPlugin)
  const userOf = (request: FastifyRequest): string => {
    const principal = principalOf(request)
    if (principal === null) return 'anonymous'
    return principal.sessionId === undefined
      ? `id ${principal.id}`
      : `session ${principal.sessionId}`
  }
  await app.register(fastifyCsrf, {
    sessionPlugin: csrf.sessionPlugin,
    cookieKey: csrf.cookieName,
    cookieOpts: { path: '/', secure: true, httpOnly: true, sameSite: 'strict' },
    csrfOpts: { hmacKey: csrf.secret, algorithm: 'sha256' },
    getUserInfo: userOf,
    getToken: (request: FastifyRequest) => tokenOf(request, csrf.formField) ?? '',
    logLevel: 'debug',
  } as never)

  function drawToken(this: FastifyReply): string {
    return this.generateCsrf({ userInfo: userOf(this.request) })
  }
  app.decorateReply('csrfToken', { getter: drawToken } as never)
  askForTokens(app, csrf, parts)
}

function askForTokens(app: FastifyInstance, csrf: CsrfSettings, parts: GuardParts): void {
  const { catalog, securityEvents } = parts
  app.addHook('preParsing', function securityHeadersToken(request, reply, payload, done) {
    if (!needsToken(request)) return done(null, payload)
    const inHeader = request.headers[HEADER] !== undefined
    if (!inHeader && mayBeInForm(request, csrf.formField)) return done(null, payload)
    verify(request, reply, (error) => done(error, payload))
  })
  app.addHook('preValidation', function securityHeadersFormToken(request, reply, done) {
    if ((request as Verified)[kVerified] === true || !needsToken(request)) return done()
    verify(request, reply, done)
  })

  function needsToken(request: FastifyRequest): boolean {
    if (SAFE.has(request.method) || request.headers.cookie === undefined) return false
    return !entryOf(request, catalog).csrfExempt
  }

  function verify(request: Verified, reply: FastifyReply, done: (error?: Error) => void): void {
    // The library would send a reply of its own; what it decides is all that is asked of it.
    const judge = { send: (error: Error) => done(refuse(request, error)) }
    const asked = Object.assign(Object.create(reply) as FastifyReply, judge)
    app.csrfProtection(request, asked, () => {
      request[kVerified] = true
      done()
    })
  }

  function refuse(request: FastifyRequest, error: Error & { code?: string }): Error {
    const reason = error.code === 'FST_CSRF_MISSING_SECRET' ? 'missing' : 'invalid'
    const missing = tokenOf(request, csrf.formField) === undefined
    securityEvents.emit(
      'security_headers.token_refused',
      { details: { reason: missing ? 'missing' : reason } },
      request,
    )
    return new PARAPET_SECURITY_HEADERS_CSRF_TOKEN()
  }
}

/** Without the option a page is told so, instead of being sent with no token in it. */
export function refuseTokens(app: FastifyInstance): void {
  app.decorateReply('csrfToken', { getter: refuseToken } as never)
}

function refuseToken(): never {
  throw new PARAPET_SECURITY_HEADERS_NO_TOKEN()
}

function tokenOf(request: FastifyRequest, formField: string | undefined): string | undefined {
  const header = request.headers[HEADER]
  if (typeof header === 'string') return header
  const body = request.body as Readonly<Record<string, unknown>> | null | undefined
  if (formField === undefined || typeof body !== 'object' || body === null) return undefined
  const field = Object.hasOwn(body, formField) ? body[formField] : undefined
  return typeof field === 'string' ? field : undefined
}

function mayBeInForm({ headers }: FastifyRequest, formField: string | undefined): boolean {
  const type = headers['content-type'] ?? ''
  return formField !== undefined && /^application\/x-www-form-urlencoded\b/i.test(type)
}

function refuseMissingSession(app: FastifyInstance, plugin: keyof typeof DECORATORS): void {
  const [owner, name] = DECORATORS[plugin]
  const there = owner === 'reply' ? app.hasReplyDecorator(name) : app.hasRequestDecorator(name)
  if (there) return
  throw new PARAPET_SECURITY_HEADERS_INVALID_OPTION(
    '@parapet/security-headers',
    `  csrf.sessionPlugin: register ${plugin} first; it keeps the secret behind the tokens`,
  )
}
