/** The `onRequest` hook: authenticates requests and sets `request.principal`. */
import type { Principal } from '@parapet/kit'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { looksLikeApiKey } from '../api-keys/key-text.ts'
import type { ApiKey } from '../api-keys/repository.ts'
import { PARAPET_SESSIONS_UNAUTHENTICATED } from '../errors.ts'
import type { Authenticator, CredentialFault } from '../service/authenticator.ts'
import type { AccessToken } from '../tokens/access-token.ts'
import type { CredentialReader } from './bearer-token.ts'
import type { SessionRule } from './route-rule.ts'
import type { HostCookie } from './session-cookie.ts'

declare module 'fastify' {
  interface FastifyRequest {
    /** The verified access token; `null` for an anonymous request or an API key. */
    sessions: AccessToken | null
  }
}

/** What {@link createAuthenticate} needs. */
export interface AuthenticateSettings {
  readonly authenticator: Authenticator
  readonly apiKeyPrefix: string
  readonly ruleOf: (request: FastifyRequest) => SessionRule
  readonly readCredential: CredentialReader
  /** `undefined`: cookies are not used. */
  readonly sessionCookie: HostCookie | undefined
}

/** Creates the hook. */
export function createAuthenticate(settings: AuthenticateSettings) {
  const { authenticator, apiKeyPrefix, ruleOf, readCredential, sessionCookie } = settings

  function refuse(request: FastifyRequest, reply: FastifyReply, reason: CredentialFault): never {
    // Otherwise the browser would be refused on optional routes as well, until the cookie expires.
    if (sessionCookie?.read(request) !== undefined) sessionCookie.clear(reply)
    authenticator.emitRefused(reason, request)
    return refuseAnonymous(reply)
  }

  return async function sessionsAuthenticate(
    request: FastifyRequest,
    reply: FastifyReply,
  ): Promise<void> {
    const rule = ruleOf(request)
    if (rule === 'ignored') return
    const text = readCredential(request)
    if (text === null) {
      // Another plugin may have authenticated the request.
      if (rule === 'required' && request.principal === null) refuseAnonymous(reply)
      return
    }
    if (looksLikeApiKey(text, apiKeyPrefix)) {
      const key = await authenticator.checkApiKey(text)
      if (key === null) return refuse(request, reply, 'api_key')
      request.principal = principalOfKey(key)
      return
    }
    const checked = authenticator.checkToken(text)
    const token = checked instanceof Promise ? await checked : checked
    if (typeof token === 'string') return refuse(request, reply, token)
    request.sessions = token
    request.principal = principalOf(token)
  }
}

/** The response is the same for a missing, an invalid and a revoked token. @see RFC 6750, section 3 */
function refuseAnonymous(reply: FastifyReply): never {
  void reply.header('www-authenticate', 'Bearer')
  throw new PARAPET_SESSIONS_UNAUTHENTICATED()
}

function principalOf({ user, sessionId, authenticatedAt, amr }: AccessToken): Principal {
  return Object.freeze({ ...user, sessionId, authenticatedAt, amr })
}

function principalOfKey({ ownerId, roles, scopes }: ApiKey): Principal {
  return Object.freeze({
    id: ownerId,
    roles: Object.freeze([...roles]),
    permissions: Object.freeze([...scopes]),
    amr: Object.freeze(['api-key']),
  })
}
