/** Random bytes from the system's CSPRNG, read in pools: one call per few hundred nonces. */
import { randomFillSync } from 'node:crypto'
import { PARAPET_KIT_INVALID_ARGUMENT } from './errors.ts'

const POOL_BYTES = 8192
const MAX_BYTES = 1024

let pool = Buffer.alloc(0)
let used = 0

/**
 * Unpredictable bytes, for nonces, ids and tokens.
 *
 * The view is the caller's alone: a pool is never refilled in place and no byte is handed out twice.
 *
 * @param size in bytes, 1 to 1024.
 * @throws PARAPET_KIT_INVALID_ARGUMENT
 */
export function takeRandom(size: number): Buffer {
  // A pool that is too small would otherwise hand out fewer bytes than were asked for.
  if (!Number.isInteger(size) || size < 1 || size > MAX_BYTES) {
    throw new PARAPET_KIT_INVALID_ARGUMENT('size', `must be a whole number from 1 to ${MAX_BYTES}`)
  }
  if (used + size > pool.length) {
    pool = Buffer.allocUnsafeSlow(POOL_BYTES)
    randomFillSync(pool)
    used = 0
  }
  const start = used
  used += size
  return pool.subarray(start, used)
}
