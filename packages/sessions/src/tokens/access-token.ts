/** The content of an access token. */
import type { TokenEpochs } from '../revocation/epoch.ts'
import type { SessionUser } from '../users/user.ts'

/** The content of a verified access token. Frozen. */
export interface AccessToken {
  readonly tokenId: string
  readonly sessionId: string
  readonly user: SessionUser
  readonly epochs: TokenEpochs
  /** How the user authenticated. @see RFC 8176 */
  readonly amr: readonly string[]
  /** The level that was reached. @see RFC 9470 */
  readonly acr?: string
  /** How often its session had been refreshed; `undefined` in a token of an older version. */
  readonly generation?: number
  /** The operator who acts as the user: show a banner. @see RFC 8693, section 4.1 */
  readonly actorId?: string
  /** The account needs a second factor; the session can do nothing but enrol one. */
  readonly isFactorDue?: true
  /** Milliseconds since the Unix epoch, like the other times. */
  readonly authenticatedAt: number
  readonly issuedAt: number
  readonly expiresAt: number
}

/** Why a token is refused. It is written to security events and never sent in a response. */
export type TokenFault = 'malformed' | 'unknown_key' | 'signature' | 'claims' | 'expired'
