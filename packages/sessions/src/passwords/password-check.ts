/** The password check of a login. It takes the same work whether the account exists or not. */
import { takeRandom } from '@parapet/kit'
import type { SessionUser } from '../users/user.ts'
import {
  costOf,
  DEFAULT_COST,
  hashWith,
  MIN_LANE_KIB,
  needsRehash,
  processHasher,
  requireCost,
  type Argon2,
  type HashCost,
  type Hasher,
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
  /** The result of {@link hashPassword}. */
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
  /** The cost of new hashes; a weaker hash is replaced at the next login. @default 19 MiB, two passes */
  readonly cost?: HashCost
}

/**
 * Creates the password check for the option `credentials`. A missing or disabled account, an
 * unusable hash and a weaker hash take the same work as a wrong password.
 *
 * @throws PARAPET_SESSIONS_INVALID_ARGUMENT the cost is below the floor.
 */
export function createPasswordCheck(options: PasswordCheckOptions): CredentialCheck {
  return createCheck(options, processHasher)
}

/** {@link createPasswordCheck} with another library or queue, for tests. */
export function createCheck(
  { findAccount, saveHash, cost: target = DEFAULT_COST }: PasswordCheckOptions,
  { library, queue }: Hasher,
): CredentialCheck {
  requireCost(target)
  let made: Promise<string> | undefined
  // The hash of a random password; it is verified where there is no account.
  const decoy = async (argon2: Argon2): Promise<string> => {
    made ??= hashWith(argon2, takeRandom(32).toString('base64url'), target)
    return made
  }

  return async ({ login, password }) => {
    // A refused guess costs no query.
    await queue.requireRoom()
    const account = (await findAccount(login)) ?? null
    // One place in the queue for all the work of a login, so that no login waits twice.
    const { isRight, renewed } = await queue.run(async () => {
      const argon2 = await library()
      const cost = account === null ? null : costOf(account.passwordHash)
      const spare = await decoy(argon2)
      const stored = cost === null ? spare : account!.passwordHash
      const matches = await argon2.verify(stored, password.normalize('NFKC'))
      if (!matches || cost === null || account?.disabled === true) {
        if (cost !== null) await addMissingWork(argon2, { cost, target }, password)
        return { isRight: false }
      }
      const isWeak = saveHash !== undefined && needsRehash(stored, target)
      return isWeak
        ? { isRight: true, renewed: await hashWith(argon2, password, target) }
        : { isRight: true }
    })
    if (!isRight || account === null) return null
    if (renewed !== undefined) await saveHash?.(account.user.id, renewed, account.passwordHash)
    return { ...account.user, amr: ['pwd'] }
  }
}

/** Does the work that a weaker hash saves, so that its account does not answer faster. */
async function addMissingWork(
  library: Argon2,
  { cost, target }: { readonly cost: HashCost; readonly target: HashCost },
  password: string,
): Promise<void> {
  const { memoryKib, passes } = target
  const missing = memoryKib * passes - cost.memoryKib * cost.passes
  if (missing <= 0) return
  const memory = Math.max(MIN_LANE_KIB, Math.round(missing / passes))
  await hashWith(library, password, { memoryKib: memory, passes })
}
