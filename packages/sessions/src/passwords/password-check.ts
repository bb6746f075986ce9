/** The password check of a login. It takes the same work whether the account exists or not. */
import { takeRandom } from '@parapet/kit'
import type { SessionUser } from '../users/user.ts'
import {
  argon2,
  costOf,
  hashWith,
  MIN_LANE_KIB,
  needsRehash,
  PARAMETERS,
  type Argon2,
  type HashCost,
} from './hash-password.ts'

/** The body of a login request. */
export interface Credentials {
  readonly login: string
  readonly password: string
}

/** A user who has authenticated. */
export interface AuthenticatedUser extends SessionUser {
  /** The methods. @default ['pwd'] @see RFC 8176 */
  readonly amr?: readonly string[]
}

/** The port of the login route: returns the user, or `null` to refuse. Errors are sent as they are. */
export type CredentialCheck = (credentials: Credentials) => Promise<AuthenticatedUser | null>

/** An account with a password. */
export interface PasswordAccount {
  readonly user: SessionUser
  /** The result of {@link hashPassword}. */
  readonly passwordHash: string
  /** A disabled account is refused in the same way as a missing one. @default false */
  readonly disabled?: boolean
}

/** The options of {@link createPasswordCheck}. */
export interface PasswordCheckOptions {
  /** Finds the account for a login name; `null` if there is none. */
  readonly findAccount: (login: string) => Promise<PasswordAccount | null>
  /**
   * Saves a stronger hash of the password that was just verified. Write it only if the stored hash is
   * still `previousHash`; otherwise it would undo a password change that happened meanwhile.
   */
  readonly saveHash?: (userId: string, passwordHash: string, previousHash: string) => Promise<void>
}

/**
 * Creates the password check for the option `credentials`. A missing or disabled account, an
 * unusable hash and a weaker hash take the same work as a wrong password.
 */
export function createPasswordCheck(options: PasswordCheckOptions): CredentialCheck {
  return createCheck(options, argon2)
}

/** {@link createPasswordCheck} with another library, for tests. */
export function createCheck(
  { findAccount, saveHash }: PasswordCheckOptions,
  library: Argon2,
): CredentialCheck {
  // The hash of a random password; it is verified where there is no account.
  const decoy = hashWith(library, takeRandom(32).toString('base64url'))
  decoy.catch(() => {})
  return async ({ login, password }) => {
    const account = await findAccount(login)
    const cost = account === null ? null : costOf(account.passwordHash)
    const stored = cost === null ? await decoy : account!.passwordHash
    const isRight = await library.verify(stored, password.normalize('NFKC'))
    if (!isRight || account === null || cost === null || account.disabled === true) {
      if (cost !== null) await addMissingWork(library, cost, password)
      return null
    }
    if (saveHash !== undefined && needsRehash(stored)) {
      await saveHash(account.user.id, await hashWith(library, password), stored)
    }
    return { ...account.user, amr: ['pwd'] }
  }
}

/** Does the work that a weaker hash saves, so that its account does not answer faster. */
async function addMissingWork(
  library: Argon2,
  { memory, passes }: HashCost,
  password: string,
): Promise<void> {
  const { memoryCost, timeCost } = PARAMETERS
  const missing = memoryCost * timeCost - memory * passes
  if (missing <= 0) return
  await hashWith(library, password, Math.max(MIN_LANE_KIB, Math.round(missing / timeCost)))
}
