/** Random bytes from the system's CSPRNG, read in pools: one call serves a few hundred nonces. */
import { randomFillSync } from 'node:crypto'
import { PARAPET_KIT_INVALID_ARGUMENT } from '../errors.ts'

const POOL_BYTES = 8192
const MAX_BYTES = 1024

let pool = Buffer.alloc(0)
let used = 0

/**
 * Unpredictable bytes, for ids and tokens.
 *
 * The view belongs to the caller: a pool is never refilled in place, and no byte is returned twice.
 *
 * @param size in bytes, 1 to 1024.
 * @throws PARAPET_KIT_INVALID_ARGUMENT
 */
export function takeRandom(size: number): Buffer {
  // A size beyond the pool would return fewer bytes than were asked for.
  if (!Number.isInteger(size) || size < 1 || size > MAX_BYTES) {
    throw new PARAPET_KIT_INVALID_ARGUMENT(
      '"size"',
      `must be an integer from 1 to ${MAX_BYTES} (bytes), got ${size}`,
    )
  }
  const start = reserve(size)
  return pool.subarray(start, used)
}

/** Fills a short buffer in place: a copy of 12 bytes costs less than a view of the pool. */
export function fillRandom(target: Uint8Array): void {
  const { length } = target
  const start = reserve(length)
  for (let index = 0; index < length; index++) target[index] = pool[start + index]!
}

function reserve(size: number): number {
  if (used + size > pool.length) {
    pool = Buffer.allocUnsafeSlow(POOL_BYTES)
    randomFillSync(pool)
    used = 0
  }
  const start = used
  used += size
  return start
}
