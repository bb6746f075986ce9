/** The `onRequest` hook: authenticates requests and sets `request.principal`. */
import { parsePrincipal, type Principal } from '@parapet/kit'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { looksLikeApiKey, parseApiKey } from '../api-keys/key-text.ts'
import {
  PARAPET_SESSIONS_SECOND_FACTOR_REQUIRED,
  PARAPET_SESSIONS_UNAUTHENTICATED,
} from '../errors.ts'
import type { ApiKeyCaller, Authenticator, CredentialFault } from '../service/authenticator.ts'
import type { AccessToken } from '../tokens/access-token.ts'
import type { CredentialReader } from './bearer-token.ts'
import type { SessionRule } from './route-rule.ts'
import type { HostCookie } from './session-cookie.ts'

/** What {@link createAuthenticate} needs. */
export interface AuthenticateSettings {
  readonly authenticator: Authenticator
  readonly apiKeyPrefix: string
  readonly ruleOf: (request: FastifyRequest) => SessionRule
  /** Whether a route without a rule needs a login. */
  readonly requireByDefault: boolean
  readonly readCredential: CredentialReader
  /** `undefined`: cookies are not used. */
  readonly sessionCookie: HostCookie | undefined
  /** Whether a bearer token that is not of this service is treated as if it was absent. */
  readonly ignoresForeignTokens: boolean
}

/** The faults of a token that this service cannot have issued with a key that it still trusts. */
const FOREIGN: ReadonlySet<CredentialFault> = new Set(['malformed', 'unknown_key'])

/** Creates the hook. */
export function createAuthenticate(settings: AuthenticateSettings) {
  const { authenticator, apiKeyPrefix, ruleOf, readCredential, sessionCookie } = settings
  const { ignoresForeignTokens, requireByDefault } = settings
  const needsLogin = (rule: SessionRule): boolean =>
    rule === 'required' || (rule === 'enrolment' && requireByDefault)

  function refuse(
    request: FastifyRequest,
    reply: FastifyReply,
    reason: CredentialFault,
    keyId?: string,
  ): never {
    // Otherwise the page itself would be refused on optional routes, until the cookie expires. Requests of
    // scripts keep it: a late refusal of the old token would delete the one that a refresh has just set.
    if (isNavigation(request) && sessionCookie?.read(request) !== undefined) {
      sessionCookie.clear(reply)
    }
    authenticator.emitRefused(reason, request, keyId)
    return refuseAnonymous(reply)
  }

  return async function sessionsAuthenticate(
    request: FastifyRequest,
    reply: FastifyReply,
  ): Promise<void> {
    const rule = ruleOf(request)
    if (rule === 'ignored') return
    const text = readCredential(request)
    if (text === null) return admitAnonymous(request, reply, needsLogin(rule))
    if (looksLikeApiKey(text, apiKeyPrefix)) {
      const caller = await authenticator.checkApiKey(text)
      if (caller === null) {
        return refuse(request, reply, 'api_key', parseApiKey(text, apiKeyPrefix)?.id)
      }
      request.principal = principalOfKey(caller)
      return
    }
    const checked = authenticator.checkToken(text)
    const token = checked instanceof Promise ? await checked : checked
    if (typeof token === 'string') {
      const isForeign = ignoresForeignTokens && FOREIGN.has(token) && usesHeader(request)
      return isForeign
        ? admitAnonymous(request, reply, needsLogin(rule))
        : refuse(request, reply, token)
    }
    if (token.isFactorDue === true && rule !== 'enrolment') {
      throw new PARAPET_SESSIONS_SECOND_FACTOR_REQUIRED()
    }
    request.sessions = token
    request.principal = principalOf(token)
  }
}

/**
 * Another plugin may have authenticated the request. In a context that is older than this plugin, requests
 * lack the decorator, and the principal is `undefined`.
 */
function admitAnonymous(request: FastifyRequest, reply: FastifyReply, isRequired: boolean): void {
  const isAnonymous = (request.principal ?? null) === null
  if (isRequired && isAnonymous) refuseAnonymous(reply)
}

/** @see W3C Fetch Metadata Request Headers, section 2.2 */
function isNavigation({ headers }: FastifyRequest): boolean {
  return headers['sec-fetch-mode'] === 'navigate'
}

function usesHeader({ headers }: FastifyRequest): boolean {
  return headers.authorization !== undefined
}

/** The response is the same for a missing, an invalid and a revoked token. @see RFC 6750, section 3 */
function refuseAnonymous(reply: FastifyReply): never {
  void reply.header('www-authenticate', 'Bearer')
  throw new PARAPET_SESSIONS_UNAUTHENTICATED()
}

/** A token that is seen again is the same object, and has the same principal. */
const principals = new WeakMap<AccessToken, Principal>()

function principalOf(token: AccessToken): Principal {
  const known = principals.get(token)
  if (known !== undefined) return known
  const { user, sessionId, authenticatedAt, amr, actorId } = token
  const actor = actorId === undefined ? undefined : { actorId }
  const principal = parsePrincipal({ ...user, sessionId, authenticatedAt, amr, ...actor })
  principals.set(token, principal)
  return principal
}

/** The scopes are a ceiling: the key may do what its owner may do now and the scopes name. */
function principalOfKey({ key, user }: ApiKeyCaller): Principal {
  const { permissions } = user
  return Object.freeze({
    ...user,
    roles: Object.freeze([...user.roles]),
    ...(permissions === undefined ? undefined : { permissions: Object.freeze([...permissions]) }),
    scopes: Object.freeze([...key.scopes]),
    amr: Object.freeze(['api-key']),
  })
}
