/** The password check of a login. It takes the same work whether the account exists or not. */
import type { SessionUser } from '../users/user.ts'
import { requireFormer } from './foreign-hash.ts'
import {
  DEFAULT_COST,
  processHasher,
  requireCost,
  type HashCost,
  type Hasher,
} from './hash-password.ts'
import { createVerifier } from './verify-password.ts'

/** The body of a login request. */
export interface Credentials {
  readonly login: string
  readonly password: string
}

/** A user who has authenticated. */
export interface AuthenticatedUser extends SessionUser {
  /** The methods. @default ['pwd'] @see RFC 8176 */
  readonly amr?: readonly string[]
  /**
   * Asked after the session has begun: whether the credentials still log in. Without it, a login that is on its way
   * while the password is reset outlives the reset.
   */
  readonly isStillValid?: () => Promise<boolean>
}

/**
 * The port of the login route: returns the user, or `null` or `undefined` to refuse. Errors with a `statusCode` are
 * sent as they are, others become 503.
 */
export type CredentialCheck = (
  credentials: Credentials,
) => Promise<AuthenticatedUser | null | undefined>

/** An account with a password. */
export interface PasswordAccount {
  readonly user: SessionUser
  /** The result of {@link hashPassword}, or a hash of the former system. */
  readonly passwordHash: string
  /** A disabled account is refused in the same way as a missing one. @default false */
  readonly disabled?: boolean
}

/** The options of {@link createPasswordCheck}. */
export interface PasswordCheckOptions {
  /** Finds the account for a login name; `null` or `undefined` if there is none. */
  readonly findAccount: (login: string) => Promise<PasswordAccount | null | undefined>
  /**
   * Saves a stronger hash of the password that was just verified. Write it only if the stored hash is
   * still `previousHash`; otherwise it would undo a password change that happened meanwhile.
   */
  readonly saveHash?: (userId: string, passwordHash: string, previousHash: string) => Promise<void>
  /** Called if `saveHash` rejects. The login goes on, and the next one tries again. @default nothing */
  readonly onSaveFailed?: (error: unknown) => void
  /** The cost of new hashes; a weaker hash is replaced at the next login. @default 19 MiB, two passes */
  readonly cost?: HashCost
  /**
   * While accounts have hashes of a former system (bcrypt, scrypt, PBKDF2, older argon2): one such hash, of
   * any password. Every login then verifies one, so that the duration does not show which accounts have
   * been upgraded or exist. @default none: such accounts answer later than others
   */
  readonly former?: string
}

/**
 * Creates the password check for the option `credentials`. A missing or disabled account, an
 * unusable hash and a weaker hash take the same work as a wrong password.
 *
 * @throws PARAPET_SESSIONS_INVALID_ARGUMENT the cost is below the floor, or `former` is no hash.
 */
export function createPasswordCheck(options: PasswordCheckOptions): CredentialCheck {
  return createCheck(options, processHasher)
}

/** How many upgrades are remembered, so that logins that began before one do not repeat it. */
const MAX_UPGRADES = 1000

/** {@link createPasswordCheck} with another library or queue, for tests. */
export function createCheck(
  { findAccount, saveHash, onSaveFailed, cost = DEFAULT_COST, former }: PasswordCheckOptions,
  { library, queue }: Hasher,
): CredentialCheck {
  requireCost(cost)
  const verifier = createVerifier({ library, cost, former: requireFormer(former) })
  // By user: the hash that was replaced, or is being replaced.
  const upgraded = new Map<string, string>()

  async function upgrade({ user, passwordHash }: PasswordAccount, renewed: string): Promise<void> {
    try {
      await saveHash?.(user.id, renewed, passwordHash)
    } catch (error) {
      upgraded.delete(user.id)
      onSaveFailed?.(error)
    }
  }

  /** @returns whether this login is the one that replaces the hash. */
  function claimUpgrade({ user, passwordHash }: PasswordAccount): boolean {
    if (saveHash === undefined || upgraded.get(user.id) === passwordHash) return false
    const [oldest] = upgraded.keys()
    if (upgraded.size >= MAX_UPGRADES && oldest !== undefined) upgraded.delete(oldest)
    upgraded.set(user.id, passwordHash)
    return true
  }

  return async ({ login, password }) => {
    // A refused guess costs no query.
    await queue.requireRoom()
    const account = (await findAccount(login)) ?? null
    // One place in the queue for all the work of a login, so that no login waits twice.
    const { isRight, renewed } = await queue.run(() =>
      verifier.verify(account, password, claimUpgrade),
    )
    if (!isRight || account === null) return null
    if (renewed !== undefined) await upgrade(account, renewed)
    const known = [account.passwordHash, renewed]
    const isStillValid = async (): Promise<boolean> => {
      const now = (await findAccount(login)) ?? null
      if (now === null || now.disabled === true || now.user.id !== account.user.id) return false
      if (known.includes(now.passwordHash)) return true
      // Another login may have upgraded the hash.
      return (await queue.run(() => verifier.verify(now, password, () => false))).isRight
    }
    return { ...account.user, amr: ['pwd'], isStillValid }
  }
}
