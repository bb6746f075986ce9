/** Passwords: argon2id, and a check that costs the same whether the account exists or not. */
import { hash, verify } from '@node-rs/argon2'
import { takeRandom } from '@parapet/kit'
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
  /**
   * Keeps a new hash of the password that was just verified, when the old one is weaker. Write it only
   * where `previousHash` still stands: else it would undo a change of the password made meanwhile.
   */
  readonly saveHash?: (userId: string, passwordHash: string, previousHash: string) => Promise<void>
}

/** OWASP Password Storage Cheat Sheet: 19 MiB, two passes, one lane. The library's kind is argon2id. */
const PARAMETERS = {
  memoryCost: 19_456,
  timeCost: 2,
  parallelism: 1,
  outputLen: 32,
} as const
const FORM =
  /^\$argon2id\$v=19\$m=([1-9]\d{0,6}),t=([1-9]\d?),p=([1-9])\$([\w+/]{11,64})\$([\w+/]{22,86})$/
/** What a hash may cost to verify: a stored text must not stop the service. */
const MAX_MEMORY_KIB = 262_144
const MAX_PASSES = 16
const MAX_LANES = 8
/** RFC 9106, section 3.1: what each lane needs. */
const MIN_LANE_KIB = 8

/** The library. Tests count what it is asked to do. */
export interface Argon2 {
  readonly hash: typeof hash
  readonly verify: typeof verify
}

/** Hashes a password with argon2id, off the event loop. Normalised to NFKC, so that any keyboard finds it again. */
export function hashPassword(password: string): Promise<string> {
  return hashWith({ hash, verify }, password)
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
 * Makes the check of a login with a password. For an account that does not exist, or is disabled, or
 * has no usable hash, the same work is done as for a wrong password; for one with a weaker hash too.
 */
export function createPasswordCheck(options: PasswordCheckOptions): CredentialCheck {
  return createCheck(options, { hash, verify })
}

/** {@link createPasswordCheck} over a library that was passed in. */
export function createCheck(
  { findAccount, saveHash }: PasswordCheckOptions,
  argon2: Argon2,
): CredentialCheck {
  // One hash of a password that nobody knows, with the parameters of all others.
  const decoy = hashWith(argon2, takeRandom(32).toString('base64url'))
  decoy.catch(() => {})
  return async ({ login, password }) => {
    const account = await findAccount(login)
    const cost = account === null ? null : costOf(account.passwordHash)
    const stored = cost === null ? await decoy : account!.passwordHash
    const right = await argon2.verify(stored, password.normalize('NFKC'))
    if (!right || account === null || cost === null || account.disabled === true) {
      if (cost !== null) await workOff(argon2, cost, password)
      return null
    }
    if (saveHash !== undefined && needsRehash(stored)) {
      await saveHash(account.user.id, await hashWith(argon2, password), stored)
    }
    return { ...account.user, amr: ['pwd'] }
  }
}

/** Does what a weaker hash leaves of today's work, so that its account does not answer sooner. */
async function workOff(argon2: Argon2, { memory, passes }: Cost, password: string): Promise<void> {
  const { memoryCost, timeCost } = PARAMETERS
  const left = memoryCost * timeCost - memory * passes
  if (left <= 0) return
  await hashWith(argon2, password, Math.max(MIN_LANE_KIB, Math.round(left / timeCost)))
}

function hashWith(
  argon2: Argon2,
  password: string,
  memoryCost: number = PARAMETERS.memoryCost,
): Promise<string> {
  const salt = takeRandom(16)
  return argon2.hash(password.normalize('NFKC'), { ...PARAMETERS, memoryCost, salt })
}

interface Cost {
  /** In KiB. */
  readonly memory: number
  readonly passes: number
}

/** `null`: no hash that the library would verify, or one that costs too much. */
function costOf(passwordHash: string): Cost | null {
  const [, memory, passes, lanes, salt, tag] = FORM.exec(passwordHash) ?? []
  if (salt === undefined || tag === undefined || !isBase64(salt) || !isBase64(tag)) return null
  const cost = { memory: Number(memory), passes: Number(passes) }
  const sane =
    cost.memory >= MIN_LANE_KIB * Number(lanes) &&
    cost.memory <= MAX_MEMORY_KIB &&
    cost.passes <= MAX_PASSES &&
    Number(lanes) <= MAX_LANES
  return sane ? cost : null
}

function isBase64(text: string): boolean {
  return Buffer.from(text, 'base64').toString('base64').replace(/=+$/, '') === text
}
