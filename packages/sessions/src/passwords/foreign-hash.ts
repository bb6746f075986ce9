/**
 * Password hashes of other systems: they are verified at a login, and replaced by argon2id.
 *
 * Other systems hash the text as it was typed. A stored text must not be able to block the service, so
 * every form has limits of its cost, and a text beyond them matches no password.
 */
import { pbkdf2, scrypt, timingSafeEqual } from 'node:crypto'
import type { verify } from '@node-rs/bcrypt'
import { PARAPET_SESSIONS_INVALID_ARGUMENT } from '../errors.ts'

/** A hash of another system, ready to be verified. */
export interface ForeignHash {
  /** For messages and tests: `bcrypt`, `scrypt`, `pbkdf2` or `argon2`. */
  readonly kind: 'bcrypt' | 'scrypt' | 'pbkdf2' | 'argon2'
  /** Off the event loop. Rejects only if the library of the kind is missing. */
  verify(password: string): Promise<boolean>
}

const BCRYPT = /^\$2[abxy]\$(0[4-9]|1[0-5])\$[./A-Za-z0-9]{53}$/
/** argon2i, argon2d, and argon2id of version 16: RFC 9106 and the PHC string format. */
const ARGON2 =
  /^\$argon2(?:i|d|id)(?:\$v=(?:16|19))?\$m=([1-9]\d{0,5}),t=([1-9]\d?),p=([1-9])\$[\w+/]{11,64}\$[\w+/]{16,86}$/
/** PHC and passlib: `$scrypt$ln=14,r=8,p=1$salt$hash`. */
const SCRYPT =
  /^\$scrypt\$ln=(\d{1,2}),r=(\d{1,3}),p=(\d{1,2})\$([\w+/.]{4,100})\$([\w+/.]{22,100})$/
/** Werkzeug: `scrypt:32768:8:1$salt$hex`. */
const SCRYPT_WERKZEUG =
  /^scrypt:(\d{2,7}):(\d{1,3}):(\d{1,2})\$([\w./+-]{4,64})\$([\da-f]{32,128})$/
/** Better Auth: `salt:hex` with N=16384, r=16, p=1. */
const SCRYPT_BETTER_AUTH = /^([\da-f]{32}):([\da-f]{128})$/
/** PHC and passlib: `$pbkdf2-sha256$29000$salt$hash`, also with `i=`. */
const PBKDF2 =
  /^\$pbkdf2(?:-(sha1|sha256|sha512))?\$(?:i=)?([1-9]\d{2,7})(?:,l=\d{1,3})?\$([\w+/.]{4,100})\$([\w+/.]{16,100})$/
/** Django and Werkzeug: `pbkdf2_sha256$260000$salt$base64`, `pbkdf2:sha256:260000$salt$hex`. */
const PBKDF2_DJANGO =
  /^pbkdf2_(sha1|sha256|sha512)\$([1-9]\d{2,7})\$([\w./+-]{1,64})\$([\w+/=]{16,100})$/
const PBKDF2_WERKZEUG =
  /^pbkdf2:(sha1|sha256|sha512):([1-9]\d{2,7})\$([\w./+-]{1,64})\$([\da-f]{32,128})$/

const MAX_ARGON2_KIB = 262_144
const MAX_ARGON2_PASSES = 16
/** 256 MiB, as for argon2. @see RFC 7914, section 2 */
const MAX_SCRYPT_BYTES = 268_435_456
const MAX_SCRYPT_WORK = 4 * MAX_SCRYPT_BYTES
const MAX_ITERATIONS = 5_000_000

/** Reads a stored text; `null`: it is no hash of a known form, or costs too much. */
export function readForeignHash(text: string): ForeignHash | null {
  return readBcrypt(text) ?? readArgon2(text) ?? readScrypt(text) ?? readPbkdf2(text)
}

/**
 * The option `former`, read at boot. @returns `null` if it is not given.
 *
 * @throws PARAPET_SESSIONS_INVALID_ARGUMENT it is no hash of another system.
 */
export function requireFormer(text: string | undefined): ForeignHash | null {
  if (text === undefined) return null
  const read = readForeignHash(text)
  if (read !== null) return read
  const expected = 'a bcrypt, scrypt, PBKDF2 or argon2 hash as the former system stores it'
  throw new PARAPET_SESSIONS_INVALID_ARGUMENT('former', expected, 'another text')
}

function readBcrypt(text: string): ForeignHash | null {
  if (!BCRYPT.test(text)) return null
  // PHP writes 2y and old implementations 2x or 2a for the same algorithm.
  const hash = `$2b${text.slice(3)}`
  return {
    kind: 'bcrypt',
    async verify(password) {
      const library = await loadBcrypt()
      return library.verify(password, hash)
    },
  }
}

async function loadBcrypt(): Promise<{ readonly verify: typeof verify }> {
  try {
    return await import('@node-rs/bcrypt')
  } catch (error) {
    throw new Error('To verify bcrypt hashes, install the package "@node-rs/bcrypt"', {
      cause: error,
    })
  }
}

function readArgon2(text: string): ForeignHash | null {
  const [, memory, passes, lanes] = ARGON2.exec(text) ?? []
  if (memory === undefined) return null
  const isSane =
    Number(memory) >= 8 * Number(lanes) &&
    Number(memory) <= MAX_ARGON2_KIB &&
    Number(passes) <= MAX_ARGON2_PASSES
  if (!isSane) return null
  return {
    kind: 'argon2',
    async verify(password) {
      const library = await import('@node-rs/argon2')
      // A salt or a tag that is no canonical base64 makes the library throw.
      return library.verify(text, password).catch(() => false)
    },
  }
}

interface ScryptForm {
  readonly n: number
  readonly r: number
  readonly p: number
  readonly salt: Buffer
  readonly hash: Buffer
}

function readScrypt(text: string): ForeignHash | null {
  const form = scryptFormOf(text)
  if (form === null) return null
  const { n, r, p, salt, hash } = form
  const bytes = 128 * n * r
  const isSane = n >= 2 && r >= 1 && p >= 1 && bytes <= MAX_SCRYPT_BYTES
  if (!isSane || bytes * p > MAX_SCRYPT_WORK || (n & (n - 1)) !== 0) return null
  return {
    kind: 'scrypt',
    verify: (password) =>
      derive(hash, (done) => {
        const cost = { N: n, r, p, maxmem: bytes + 128 * r * p + 1_048_576 }
        scrypt(password, salt, hash.length, cost, done)
      }),
  }
}

function scryptFormOf(text: string): ScryptForm | null {
  const phc = SCRYPT.exec(text)
  if (phc !== null) {
    const [, ln, r, p, salt, hash] = phc as unknown as string[]
    if (Number(ln) > 24) return null
    return {
      n: 2 ** Number(ln),
      r: Number(r),
      p: Number(p),
      salt: bytesOf(salt!),
      hash: bytesOf(hash!),
    }
  }
  const werkzeug = SCRYPT_WERKZEUG.exec(text)
  if (werkzeug !== null) {
    const [, n, r, p, salt, hex] = werkzeug as unknown as string[]
    const hash = Buffer.from(hex!, 'hex')
    return { n: Number(n), r: Number(r), p: Number(p), salt: Buffer.from(salt!), hash }
  }
  const [, salt, hex] = SCRYPT_BETTER_AUTH.exec(text) ?? []
  if (salt === undefined || hex === undefined) return null
  return { n: 16_384, r: 16, p: 1, salt: Buffer.from(salt), hash: Buffer.from(hex, 'hex') }
}

function readPbkdf2(text: string): ForeignHash | null {
  const phc = PBKDF2.exec(text)
  const django = PBKDF2_DJANGO.exec(text)
  const [, digest = 'sha1', count, salt, hash] = phc ?? django ?? PBKDF2_WERKZEUG.exec(text) ?? []
  if (count === undefined || salt === undefined || hash === undefined) return null
  if (Number(count) > MAX_ITERATIONS) return null
  const saltBytes = phc === null ? Buffer.from(salt) : bytesOf(salt)
  const expected = phc !== null || django !== null ? bytesOf(hash) : Buffer.from(hash, 'hex')
  return {
    kind: 'pbkdf2',
    verify: (password) =>
      derive(expected, (done) => {
        pbkdf2(password, saltBytes, Number(count), expected.length, digest, done)
      }),
  }
}

/** Base64 of passlib has `.` instead of `+` and no padding. */
function bytesOf(base64: string): Buffer {
  return Buffer.from(base64.replaceAll('.', '+'), 'base64')
}

/** Derives a key in the thread pool and compares it. */
function derive(
  expected: Buffer,
  run: (done: (error: Error | null, key: Buffer) => void) => void,
): Promise<boolean> {
  return new Promise((resolve, reject) => {
    run((error, key) => {
      if (error !== null) reject(error)
      else resolve(key.length === expected.length && timingSafeEqual(key, expected))
    })
  })
}
