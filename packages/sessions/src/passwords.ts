/** Passwords: argon2id, and a check that costs the same whether the account exists or not. */
import { hash, verify } from '@node-rs/argon2'
import { takeRandom } from '@parapet/kit'
import { deriveKey } from './refresh-tokens.ts'
import type { SessionUser } from './user.ts'

/** What a caller sends to log in. */
export interface Credentials {
  readonly login: string
  readonly password: string
}

/** A user as a login found them, with how they proved it. */
export interface AuthenticatedUser extends SessionUser {
  /** @default ['pwd'] @see RFC 8176 */
  readonly amr?: readonly string[]
}

/** The port of the login route: who this is, or `null`. What it throws is answered as it is. */
export type CredentialCheck = (credentials: Credentials) => Promise<AuthenticatedUser | null>

/** An account that has a password. */
export interface PasswordAccount {
  readonly user: SessionUser
  /** What {@link hashPassword} made. */
  readonly passwordHash: string
  /** A disabled account is refused like one that does not exist. @default false */
  readonly disabled?: boolean
}

/** What {@link createPasswordCheck} takes. */
export interface PasswordCheckOptions {
  /** Finds an account by what the caller typed; `null`: there is none. */
  readonly findAccount: (login: string) => Promise<PasswordAccount | null>
  /** Keeps a new hash of the password that was just verified, when the old one is weaker. */
  readonly saveHash?: (userId: string, passwordHash: string) => Promise<void>
}

/** OWASP Password Storage Cheat Sheet: 19 MiB, two passes, one lane. The library's kind is argon2id. */
const PARAMETERS = {
  memoryCost: 19_456,
  timeCost: 2,
  parallelism: 1,
  outputLen: 32,
} as const
const FORM = /^\$argon2id\$v=19\$m=(\d{1,7}),t=(\d{1,4}),p=(\d{1,3})\$[\w+/]{11,90}\$[\w+/]{22,90}$/
/** What a hash may cost to verify: a stored text must not stop the service. */
const MAX_MEMORY_KIB = 262_144
const MAX_PASSES = 16
const MAX_LANES = 8

/** Hashes a password with argon2id, off the event loop. Normalised to NFKC, so that any keyboard finds it again. */
export function hashPassword(password: string): Promise<string> {
  return hash(password.normalize('NFKC'), { ...PARAMETERS, salt: takeRandom(16) })
}

/** Whether the password made this hash. A text that is no argon2id hash of sane cost is refused. */
export async function verifyPassword(passwordHash: string, password: string): Promise<boolean> {
  if (costOf(passwordHash) === null) return false
  return verify(passwordHash, password.normalize('NFKC'))
}

/** Whether a hash is weaker than {@link hashPassword} makes them now. */
export function needsRehash(passwordHash: string): boolean {
  const cost = costOf(passwordHash)
  if (cost === null) return true
  return cost.memory < PARAMETERS.memoryCost || cost.passes < PARAMETERS.timeCost
}

/**
 * Makes the check of a login with a password. For an account that does not exist, or is disabled,
 * or has no usable hash, the same work is done as for a wrong password.
 */
export function createPasswordCheck({
  findAccount,
  saveHash,
}: PasswordCheckOptions): CredentialCheck {
  // One hash of a password that nobody knows, with the parameters of all others.
  const decoy = hashPassword(
    deriveKey(takeRandom(32).toString('base64url'), 'decoy').toString('hex'),
  )
  decoy.catch(() => {})
  return async ({ login, password }) => {
    const account = await findAccount(login)
    const usable = account !== null && costOf(account.passwordHash) !== null
    const right = await verifyPassword(usable ? account.passwordHash : await decoy, password)
    if (!right || !usable || account.disabled === true) return null
    if (saveHash !== undefined && needsRehash(account.passwordHash)) {
      await saveHash(account.user.id, await hashPassword(password))
    }
    return { ...account.user, amr: ['pwd'] }
  }
}

function costOf(passwordHash: string): { memory: number; passes: number } | null {
  const [, memory, passes, lanes] = FORM.exec(passwordHash) ?? []
  const cost = { memory: Number(memory), passes: Number(passes) }
  const sane =
    cost.memory <= MAX_MEMORY_KIB && cost.passes <= MAX_PASSES && Number(lanes) <= MAX_LANES
  return sane ? cost : null
}
