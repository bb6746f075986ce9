/** Checks the credentials of requests. */
import type { SecurityEvents } from '@parapet/kit'
import type { ApiKeys } from '../api-keys/api-keys.ts'
import type { ApiKey } from '../api-keys/repository.ts'
import { PARAPET_SESSIONS_UNAVAILABLE } from '../errors.ts'
import type { RevocationList } from '../revocation/revocation-list.ts'
import type { AccessToken, TokenFault } from '../tokens/access-token.ts'
import type { TokenVerifier } from '../tokens/verify-jwt.ts'
import type { RequestLike } from './operations.ts'

/** Why a credential is refused. It is written to security events and never sent in a response. */
export type CredentialFault = TokenFault | 'revoked' | 'api_key'

/** What {@link createAuthenticator} needs. */
export interface AuthenticatorSettings {
  readonly verifyToken: TokenVerifier
  readonly revocations: RevocationList
  readonly apiKeys: ApiKeys
  readonly securityEvents: SecurityEvents
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
  /** The valid API key, or `null`. @throws PARAPET_SESSIONS_UNAVAILABLE */
  checkApiKey(text: string): Promise<ApiKey | null>
  /** Emits that the credential of a request was refused. */
  emitRefused(reason: CredentialFault, request: RequestLike): void
}

/** Creates the check of credentials. */
export function createAuthenticator(settings: AuthenticatorSettings): Authenticator {
  const { verifyToken, revocations, apiKeys, securityEvents } = settings
  return {
    checkToken(text) {
      const token = verifyToken(text)
      if (typeof token === 'string') return token
      if (revocations.isRevoked(token)) return 'revoked'
      if (revocations.state === 'pushed') return token
      return revocations.askStore(token).then((isRevoked) => (isRevoked ? 'revoked' : token))
    },
    async checkApiKey(text) {
      try {
        return await apiKeys.verify(text)
      } catch (error) {
        throw new PARAPET_SESSIONS_UNAVAILABLE({ cause: error })
      }
    },
    emitRefused(reason, request) {
      securityEvents.emit('sessions.token_refused', { details: { reason } }, request)
    },
  }
}
