/** UUID version 7: unique ids that sort by creation time. */
import { systemClock } from '../time/clock.ts'
import { takeRandom } from './random.ts'

const HEX = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, '0'))
/** `rand_a` is a counter; it starts in the lower half to leave room for many ids in one millisecond. */
const COUNTER_START_MASK = 0x7ff
const COUNTER_MAX = 0xfff

/** What {@link createUuidV7} takes. */
export interface UuidSources {
  /** Milliseconds since the Unix epoch. @default the machine's clock */
  now?: () => number
  /** Unpredictable bytes. @default the system's CSPRNG */
  random?: (size: number) => Uint8Array
}

/**
 * Makes a generator of UUIDv7 with strictly increasing ids, even within one millisecond and when the
 * clock steps back: 48 bits of time, a 12-bit counter, 62 random bits.
 *
 * @see RFC 9562, sections 5.7 and 6.2 (method 1, fixed bit-length dedicated counter)
 */
export function createUuidV7({
  now = systemClock.now,
  random = takeRandom,
}: UuidSources = {}): () => string {
  let time = 0
  let counter = 0
  return () => {
    const bytes = random(10)
    const current = now()
    if (current > time) {
      time = current
      counter = ((bytes[8]! << 8) | bytes[9]!) & COUNTER_START_MASK
    } else if (counter < COUNTER_MAX) {
      counter++
    } else {
      // RFC 9562 section 6.2: a counter that rolls over may move the timestamp ahead.
      time++
      counter = 0
    }
    const high = Math.floor(time / 0x1_0000_0000)
    const low = time >>> 0
    return (
      HEX[(high >>> 8) & 0xff]! +
      HEX[high & 0xff]! +
      HEX[low >>> 24]! +
      HEX[(low >>> 16) & 0xff]! +
      '-' +
      HEX[(low >>> 8) & 0xff]! +
      HEX[low & 0xff]! +
      '-' +
      HEX[0x70 | (counter >>> 8)]! +
      HEX[counter & 0xff]! +
      '-' +
      HEX[0x80 | (bytes[0]! & 0x3f)]! +
      HEX[bytes[1]!]! +
      '-' +
      HEX[bytes[2]!]! +
      HEX[bytes[3]!]! +
      HEX[bytes[4]!]! +
      HEX[bytes[5]!]! +
      HEX[bytes[6]!]! +
      HEX[bytes[7]!]!
    )
  }
}

/** A UUIDv7 from the machine's clock and CSPRNG, greater than all earlier ones of this process. */
export const uuidV7: () => string = createUuidV7()
