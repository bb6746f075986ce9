/** What the functions of this folder work with. */
import type { Store } from '@parapet/kit'
import type { Epochs } from '../revocation/epochs.ts'
import type { RevocationList } from '../revocation/revocation-list.ts'
import type { TokenIssuer } from '../tokens/issue-jwt.ts'
import type { RefreshTokens } from '../tokens/refresh-token.ts'
import type { SessionUser } from '../users/user.ts'
import type { SessionLifetimes } from './record.ts'

/** Looks up the current state of a user; `null` ends the session. */
export type FindUser = (userId: string) => Promise<SessionUser | null>

/** The ports and settings of sessions. A function that uses the store rejects with the store's error. */
export interface SessionContext {
  readonly store: Store
  readonly now: () => number
  readonly lifetimes: SessionLifetimes
  readonly maxSessionsPerUser: number
  /** `undefined`: sessions keep the user as of the login. */
  readonly findUser: FindUser | undefined
  readonly epochs: Epochs
  readonly issueToken: TokenIssuer
  readonly refreshTokens: RefreshTokens
  readonly revocations: RevocationList
}
