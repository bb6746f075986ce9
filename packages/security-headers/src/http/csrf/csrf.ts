/** CSRF tokens, by @fastify/csrf: required wherever a request with a cookie can change something. */
import { Tokens } from '@fastify/csrf'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { PARAPET_SECURITY_HEADERS_CSRF_TOKEN } from '../../errors.ts'
import { createSecretStorage, type CsrfSessionPlugin } from './csrf-secret.ts'
import { markToken } from '../replies/cache-control.ts'
import type { ReplyHeaders } from '../replies/services.ts'
import { entryOf, type Parts } from '../request/parts.ts'

/** The option `csrf` with every default filled in. */
export interface CsrfSettings {
  readonly sessionPlugin: CsrfSessionPlugin
  readonly secret: string
  readonly cookieName: string
  readonly formField: string | undefined
}

const SAFE_METHODS = new Set(['GET', 'HEAD', 'OPTIONS'])
const TOKEN_HEADER = 'csrf-token'
const kSecret = Symbol('@parapet/security-headers:csrf-secret')
const kVerified = Symbol('@parapet/security-headers:csrf-verified')
type ReplyWithSecret = FastifyReply & { [kSecret]?: string }
type VerifiedRequest = FastifyRequest & { [kVerified]?: boolean }

/** Makes and verifies the tokens of one app. */
interface CsrfTokens {
  readonly create: (reply: FastifyReply) => string
  /** @returns why the token is refused; `null`: it is valid. */
  readonly verify: (request: FastifyRequest) => 'missing' | 'invalid' | null
}

/** Adds `reply.csrfToken` and requires a token. @throws PARAPET_SECURITY_HEADERS_INVALID_OPTION */
export function addCsrf(
  app: FastifyInstance,
  csrf: CsrfSettings,
  parts: Parts,
  { keepPersonal }: ReplyHeaders,
): void {
  const tokens = createTokens(app, csrf, parts)
  function csrfToken(this: FastifyReply): string {
    const token = tokens.create(this)
    markToken(this)
    // Also in `onSend`, after the headers were checked.
    if (!this.raw.headersSent) keepPersonal(this)
    return token
  }
  app.decorateReply('csrfToken', { getter: csrfToken } as never)
  addVerification(app, csrf, tokens, parts)
}

function createTokens(
  app: FastifyInstance,
  csrf: CsrfSettings,
  { principalOf }: Parts,
): CsrfTokens {
  const storage = createSecretStorage(app, csrf.sessionPlugin, csrf.cookieName)
  const library = new Tokens({ hmacKey: csrf.secret, algorithm: 'sha256', userInfo: true })
  /** A token is bound to this text by HMAC. The prefixes keep user and session ids apart. */
  const userOf = (request: FastifyRequest): string => {
    const principal = principalOf(request)
    if (principal === null) return 'anonymous'
    return principal.sessionId === undefined
      ? `id ${principal.id}`
      : `session ${principal.sessionId}`
  }
  return {
    create(reply: ReplyWithSecret) {
      // Two tokens of one response must share a secret: the browser keeps one cookie only.
      let secret = reply[kSecret] ?? storage.read(reply.request)
      if (secret === undefined || secret === '') {
        secret = library.secretSync()
        storage.write(reply, secret)
      }
      reply[kSecret] = secret
      return library.create(secret, userOf(reply.request))
    },
    verify(request) {
      const token = tokenOf(request, csrf.formField)
      const secret = storage.read(request)
      if (token === undefined || secret === undefined || secret === '') return 'missing'
      return library.verify(secret, token, userOf(request)) ? null : 'invalid'
    },
  }
}

/**
 * The header is verified in `preParsing`: after all `onRequest` hooks, so that the principal is
 * known, and before the body is read. A form field is verified in `preValidation`, after parsing.
 */
function addVerification(
  app: FastifyInstance,
  { formField }: CsrfSettings,
  tokens: CsrfTokens,
  parts: Parts,
): void {
  app.addHook('preParsing', function securityHeadersCsrf(request, _reply, payload, done) {
    if (!needsToken(request)) return done(null, payload)
    const isInForm = request.headers[TOKEN_HEADER] === undefined && mayBeInForm(request, formField)
    if (isInForm) return done(null, payload)
    done(verify(request), payload)
  })
  app.addHook('preValidation', function securityHeadersCsrfForm(request, _reply, done) {
    if ((request as VerifiedRequest)[kVerified] === true || !needsToken(request)) return done()
    done(verify(request) ?? undefined)
  })

  /** A request without a cookie uses no stored credentials, so forging it gains nothing. */
  function needsToken(request: FastifyRequest): boolean {
    if (SAFE_METHODS.has(request.method) || request.headers.cookie === undefined) return false
    return !entryOf(request, parts).csrfExempt
  }

  function verify(request: VerifiedRequest): Error | null {
    const reason = tokens.verify(request)
    if (reason === null) {
      request[kVerified] = true
      return null
    }
    parts.refusals.tokenRefused(request, { reason })
    return new PARAPET_SECURITY_HEADERS_CSRF_TOKEN()
  }
}

function tokenOf(request: FastifyRequest, formField: string | undefined): string | undefined {
  const header = request.headers[TOKEN_HEADER]
  if (typeof header === 'string') return header
  const body = request.body as Readonly<Record<string, unknown>> | null | undefined
  if (formField === undefined || typeof body !== 'object' || body === null) return undefined
  const field = Object.hasOwn(body, formField) ? body[formField] : undefined
  // @fastify/multipart gives an object with the value.
  const value =
    typeof field === 'object' && field !== null && 'value' in field ? field.value : field
  return typeof value === 'string' ? value : undefined
}

const FORM = /^(?:application\/x-www-form-urlencoded|multipart\/form-data)\b/i

function mayBeInForm({ headers }: FastifyRequest, formField: string | undefined): boolean {
  const type = headers['content-type'] ?? ''
  return formField !== undefined && FORM.test(type)
}
