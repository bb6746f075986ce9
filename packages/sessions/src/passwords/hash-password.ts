/** Password hashing with argon2id. */
import type { hash, verify } from '@node-rs/argon2'
import { takeRandom } from '@parapet/kit'
import { PARAPET_SESSIONS_INVALID_ARGUMENT } from '../errors.ts'
import { readForeignHash } from './foreign-hash.ts'
import { hashQueue, type HashQueue } from './hash-queue.ts'

/** The functions of the library; tests pass their own to count the work. */
export interface Argon2 {
  readonly hash: typeof hash
  readonly verify: typeof verify
}

/** The cost of a hash. */
export interface HashCost {
  /** 7168 to 262 144 KiB. @default 19_456, 19 MiB */
  readonly memoryKib: number
  /** 1 to 16. @default 2 */
  readonly passes: number
}

/** OWASP Password Storage Cheat Sheet: 19 MiB, two passes, one lane. */
export const DEFAULT_COST: HashCost = Object.freeze({ memoryKib: 19_456, passes: 2 })
/** The cheapest of the equal choices that OWASP lists: 7 MiB and five passes. */
const MIN_MEMORY_KIB = 7168
const MIN_WORK_KIB = 5 * MIN_MEMORY_KIB
const FORM =
  /^\$argon2id\$v=19\$m=([1-9]\d{0,6}),t=([1-9]\d?),p=([1-9])\$([\w+/]{11,64})\$([\w+/]{22,86})$/
/** The most expensive hash that is verified; a stored text must not be able to block the service. */
const MAX_MEMORY_KIB = 262_144
const MAX_PASSES = 16
const MAX_LANES = 8
/** RFC 9106, section 3.1: the minimum for each lane. */
export const MIN_LANE_KIB = 8

/** The library. It is loaded with the first password, because most processes that import us hash none. */
async function loadArgon2(): Promise<Argon2> {
  return import('@node-rs/argon2')
}

/**
 * Hashes a password with argon2id in the thread pool. The password is normalized to NFKC first, so
 * that every keyboard produces the same text.
 *
 * @param cost a higher cost than the default, or another balance of memory and passes.
 * @throws PARAPET_SESSIONS_INVALID_ARGUMENT the cost is below the floor.
 * @throws PARAPET_SESSIONS_BUSY too many passwords are being hashed.
 */
export async function hashPassword(
  password: string,
  cost: HashCost = DEFAULT_COST,
): Promise<string> {
  requireCost(cost)
  return hashQueue.run(async () => hashWith(await loadArgon2(), password, cost))
}

/**
 * Whether a password matches a hash: one of {@link hashPassword}, or a hash of another system (bcrypt,
 * scrypt, PBKDF2, older argon2). A text that is no hash of sane cost never matches.
 *
 * @throws PARAPET_SESSIONS_BUSY too many passwords are being hashed.
 */
export async function verifyPassword(passwordHash: string, password: string): Promise<boolean> {
  if (costOf(passwordHash) !== null) {
    const normalized = password.normalize('NFKC')
    return hashQueue.run(async () => (await loadArgon2()).verify(passwordHash, normalized))
  }
  const foreign = readForeignHash(passwordHash)
  return foreign === null ? false : hashQueue.run(() => foreign.verify(password))
}

/** Whether a hash is weaker than the hashes that {@link hashPassword} creates with this cost. */
export function needsRehash(passwordHash: string, cost: HashCost = DEFAULT_COST): boolean {
  const found = costOf(passwordHash)
  if (found === null) return true
  return found.memoryKib < cost.memoryKib || found.passes < cost.passes
}

/** {@link hashPassword} with another library and any cost, without the queue. */
export function hashWith(
  library: Argon2,
  password: string,
  { memoryKib, passes }: HashCost,
): Promise<string> {
  return library.hash(password.normalize('NFKC'), {
    // The library's default algorithm is argon2id.
    memoryCost: memoryKib,
    timeCost: passes,
    parallelism: 1,
    outputLen: 32,
    salt: takeRandom(16),
  })
}

/** The cost of a hash; `null` if the library would not verify it, or if it costs too much. */
export function costOf(passwordHash: string): HashCost | null {
  const [, memory, passes, lanes, salt, tag] = FORM.exec(passwordHash) ?? []
  if (salt === undefined || tag === undefined || !isBase64(salt) || !isBase64(tag)) return null
  const cost = { memoryKib: Number(memory), passes: Number(passes) }
  const isSane =
    cost.memoryKib >= MIN_LANE_KIB * Number(lanes) &&
    cost.memoryKib <= MAX_MEMORY_KIB &&
    cost.passes <= MAX_PASSES &&
    Number(lanes) <= MAX_LANES
  return isSane ? cost : null
}

/** Checks a cost of the application. @throws PARAPET_SESSIONS_INVALID_ARGUMENT */
export function requireCost({ memoryKib, passes }: HashCost): void {
  const isKnown = Number.isSafeInteger(memoryKib) && Number.isSafeInteger(passes)
  const isInRange =
    memoryKib >= MIN_MEMORY_KIB &&
    memoryKib <= MAX_MEMORY_KIB &&
    passes >= 1 &&
    passes <= MAX_PASSES &&
    memoryKib * passes >= MIN_WORK_KIB
  if (isKnown && isInRange) return
  throw new PARAPET_SESSIONS_INVALID_ARGUMENT(
    'cost',
    `"memoryKib" from ${MIN_MEMORY_KIB} to ${MAX_MEMORY_KIB} and "passes" from 1 to ${MAX_PASSES}, ` +
      `whose product is at least ${MIN_WORK_KIB} (OWASP Password Storage Cheat Sheet)`,
    `${String(memoryKib)} and ${String(passes)}`,
  )
}

function isBase64(text: string): boolean {
  return Buffer.from(text, 'base64').toString('base64').replace(/=+$/, '') === text
}

/** What a password check hashes with; tests pass a library that counts. */
export interface Hasher {
  readonly library: () => Promise<Argon2>
  readonly queue: HashQueue
}

/** The library and the queue of this process. */
export const processHasher: Hasher = { library: loadArgon2, queue: hashQueue }
