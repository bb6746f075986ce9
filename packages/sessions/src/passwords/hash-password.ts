/** Password hashing with argon2id. */
import { hash, verify } from '@node-rs/argon2'
import { takeRandom } from '@parapet/kit'

/** The functions of the library; tests pass their own to count the work. */
export interface Argon2 {
  readonly hash: typeof hash
  readonly verify: typeof verify
}

/** The library. */
export const argon2: Argon2 = { hash, verify }

/** The cost of a hash. */
export interface HashCost {
  /** In KiB. */
  readonly memory: number
  readonly passes: number
}

/** OWASP Password Storage Cheat Sheet: 19 MiB, two passes, one lane. The library's default is argon2id. */
export const PARAMETERS = {
  memoryCost: 19_456,
  timeCost: 2,
  parallelism: 1,
  outputLen: 32,
} as const
const FORM =
  /^\$argon2id\$v=19\$m=([1-9]\d{0,6}),t=([1-9]\d?),p=([1-9])\$([\w+/]{11,64})\$([\w+/]{22,86})$/
/** The most expensive hash that is verified; a stored text must not be able to block the service. */
const MAX_MEMORY_KIB = 262_144
const MAX_PASSES = 16
const MAX_LANES = 8
/** RFC 9106, section 3.1: the minimum for each lane. */
export const MIN_LANE_KIB = 8

/**
 * Hashes a password with argon2id in the thread pool. The password is normalized to NFKC first, so
 * that every keyboard produces the same text.
 */
export function hashPassword(password: string): Promise<string> {
  return hashWith(argon2, password)
}

/** Whether a password matches a hash. A text that is not an argon2id hash of sane cost never matches. */
export async function verifyPassword(passwordHash: string, password: string): Promise<boolean> {
  if (costOf(passwordHash) === null) return false
  return verify(passwordHash, password.normalize('NFKC'))
}

/** Whether a hash is weaker than the hashes that {@link hashPassword} creates. */
export function needsRehash(passwordHash: string): boolean {
  const cost = costOf(passwordHash)
  if (cost === null) return true
  return cost.memory < PARAMETERS.memoryCost || cost.passes < PARAMETERS.timeCost
}

/** {@link hashPassword} with another library or another memory cost (in KiB). */
export function hashWith(
  library: Argon2,
  password: string,
  memoryCost: number = PARAMETERS.memoryCost,
): Promise<string> {
  const salt = takeRandom(16)
  return library.hash(password.normalize('NFKC'), { ...PARAMETERS, memoryCost, salt })
}

/** The cost of a hash; `null` if the library would not verify it, or if it costs too much. */
export function costOf(passwordHash: string): HashCost | null {
  const [, memory, passes, lanes, salt, tag] = FORM.exec(passwordHash) ?? []
  if (salt === undefined || tag === undefined || !isBase64(salt) || !isBase64(tag)) return null
  const cost = { memory: Number(memory), passes: Number(passes) }
  const isSane =
    cost.memory >= MIN_LANE_KIB * Number(lanes) &&
    cost.memory <= MAX_MEMORY_KIB &&
    cost.passes <= MAX_PASSES &&
    Number(lanes) <= MAX_LANES
  return isSane ? cost : null
}

function isBase64(text: string): boolean {
  return Buffer.from(text, 'base64').toString('base64').replace(/=+$/, '') === text
}
