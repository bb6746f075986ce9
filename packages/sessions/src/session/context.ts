/** What the functions of this folder work with. */
import { withDeadline, type Store } from '@parapet/kit'
import { PARAPET_SESSIONS_UNAVAILABLE } from '../errors.ts'
import type { AccountGate } from '../accounts/gate.ts'
import type { Epochs } from '../revocation/epochs.ts'
import type { RevocationList } from '../revocation/revocation-list.ts'
import type { RecordSeal } from '../secrets/record-seal.ts'
import type { TokenIssuer } from '../tokens/issue-jwt.ts'
import type { RefreshTokens } from '../tokens/refresh-token.ts'
import { requireUser, type SessionUser } from '../users/user.ts'
import type { SessionLifetimes } from './record.ts'
import type { TokenUses } from './token-uses.ts'

/** Looks up the current state of a user; `null` or `undefined` ends the session. */
export type FindUser = (userId: string) => Promise<SessionUser | null | undefined>

/** The ports and settings of sessions. A function that uses the store rejects with the store's error. */
export interface SessionContext {
  readonly store: Store
  /** Authenticates the stored records. */
  readonly seal: RecordSeal
  readonly now: () => number
  readonly lifetimes: SessionLifetimes
  readonly maxSessionsPerUser: number
  /** `undefined`: sessions keep the user as of the login. */
  readonly findUser: FindUser | undefined
  readonly epochs: Epochs
  readonly issueToken: TokenIssuer
  readonly refreshTokens: RefreshTokens
  readonly revocations: RevocationList
  readonly uses: TokenUses
  readonly gate: AccountGate
  /** Whether an operator may act as a user now. */
  readonly mayImpersonate: (operator: SessionUser, user: SessionUser) => Promise<boolean>
}

/** How long the application's lookup of a user may take, in milliseconds. */
const LOOKUP_DEADLINE_MS = 10_000
const late = (): Error => new PARAPET_SESSIONS_UNAVAILABLE()

/**
 * The user as of now; `null` if the user is gone or the lookup returned another one.
 *
 * @throws PARAPET_SESSIONS_UNAVAILABLE the lookup failed, did not answer, or returned no user.
 */
export async function lookUpUser(findUser: FindUser, userId: string): Promise<SessionUser | null> {
  try {
    const found = (await withDeadline(findUser(userId), LOOKUP_DEADLINE_MS, late)) ?? null
    const current = found === null ? null : requireUser(found)
    return current?.id === userId ? current : null
  } catch (error) {
    throw new PARAPET_SESSIONS_UNAVAILABLE({ cause: error })
  }
}
