/** Checks the credentials of requests. */
import type { SecurityEvents } from '@parapet/kit'
import type { AccountGate } from '../accounts/gate.ts'
import type { ApiKeys } from '../api-keys/api-keys.ts'
import type { ApiKey } from '../api-keys/repository.ts'
import { PARAPET_SESSIONS_UNAVAILABLE } from '../errors.ts'
import type { RevocationList } from '../revocation/revocation-list.ts'
import { lookUpUser, type FindUser } from '../session/context.ts'
import type { TokenUses } from '../session/token-uses.ts'
import type { AccessToken, TokenFault } from '../tokens/access-token.ts'
import type { TokenVerifier } from '../tokens/verify-jwt.ts'
import type { RequestLike } from '../users/request-like.ts'
import type { SessionUser } from '../users/user.ts'
import { resourceOf } from './reported-api-keys.ts'

/** Why a credential is refused. It is written to security events and never sent in a response. */
export type CredentialFault = TokenFault | 'revoked' | 'api_key'

/** What {@link createAuthenticator} needs. */
export interface AuthenticatorSettings {
  readonly verifyToken: TokenVerifier
  readonly revocations: RevocationList
  readonly uses: TokenUses
  readonly apiKeys: ApiKeys
  /** `undefined`: API keys have the roles that they were created with. */
  readonly findUser: FindUser | undefined
  readonly gate: Pick<AccountGate, 'isLocked'>
  readonly securityEvents: SecurityEvents
}

/** A valid API key, and the user for whom it acts. */
export interface ApiKeyCaller {
  readonly key: ApiKey
  /** The owner as of now, with the roles that the key may use. */
  readonly user: SessionUser
}

/** See {@link createAuthenticator}. */
export interface Authenticator {
  /**
   * Checks an access token, including revocation. Synchronous while this instance knows every
   * revocation, so that a request costs no extra promise.
   *
   * @throws PARAPET_SESSIONS_UNAVAILABLE (rejection) the store must be asked and does not answer.
   */
  checkToken(text: string): AccessToken | CredentialFault | Promise<AccessToken | CredentialFault>
  /** The valid API key and its owner, or `null`. @throws PARAPET_SESSIONS_UNAVAILABLE */
  checkApiKey(text: string): Promise<ApiKeyCaller | null>
  /** Emits that the credential of a request was refused. @param keyId of an API key. */
  emitRefused(reason: CredentialFault, request: RequestLike, keyId?: string): void
}

/** Creates the check of credentials. */
export function createAuthenticator(settings: AuthenticatorSettings): Authenticator {
  const { verifyToken, revocations, uses, apiKeys, findUser, gate, securityEvents } = settings

  async function askStore(token: AccessToken): Promise<AccessToken | 'revoked'> {
    if (await revocations.askStore(token)) return 'revoked'
    uses.note(token)
    return token
  }

  async function verifyKey(text: string): Promise<ApiKey | null> {
    try {
      return await apiKeys.verify(text)
    } catch (error) {
      throw new PARAPET_SESSIONS_UNAVAILABLE({ cause: error })
    }
  }

  async function isLocked(ownerId: string): Promise<boolean> {
    try {
      return await gate.isLocked(ownerId)
    } catch (error) {
      throw new PARAPET_SESSIONS_UNAVAILABLE({ cause: error })
    }
  }

  return {
    checkToken(text) {
      const token = verifyToken(text)
      if (typeof token === 'string') return token
      if (revocations.isRevoked(token)) return 'revoked'
      if (revocations.state !== 'pushed') return askStore(token)
      uses.note(token)
      return token
    },
    async checkApiKey(text) {
      const key = await verifyKey(text)
      if (key === null || (await isLocked(key.ownerId))) return null
      if (findUser === undefined) return { key, user: { id: key.ownerId, roles: key.roles } }
      const owner = await lookUpUser(findUser, key.ownerId)
      return owner === null ? null : { key, user: limitedTo(key, owner) }
    },
    emitRefused(reason, request, keyId) {
      const key = keyId === undefined ? undefined : resourceOf(keyId)
      securityEvents.emit('sessions.token_refused', { ...key, details: { reason } }, request)
    },
  }
}

/** A key that names roles uses only those of them that its owner has now. */
function limitedTo({ roles }: ApiKey, owner: SessionUser): SessionUser {
  if (roles.length === 0) return owner
  return { ...owner, roles: owner.roles.filter((role) => roles.includes(role)) }
}
