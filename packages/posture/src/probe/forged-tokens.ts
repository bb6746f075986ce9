/** Tokens that nobody has issued, and guesses of the key behind a token that somebody has. */
import { createHmac } from 'node:crypto'
import { secretsEqual } from '@parapet/kit'
import { guessedWords } from '../source/secret-texts.ts'

const HASHES: Readonly<Record<string, string>> = {
  HS256: 'sha256',
  HS384: 'sha384',
  HS512: 'sha512',
}

const encode = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url')

/** The claims that apps read most often; they name the highest rights. */
function claimsAt(now: number): object {
  const seconds = Math.floor(now / 1000)
  return {
    sub: '1',
    id: '1',
    userId: '1',
    username: 'admin',
    email: 'admin@example.com',
    role: 'admin',
    roles: ['admin'],
    admin: true,
    isAdmin: true,
    scope: 'admin',
    iat: seconds - 60,
    exp: seconds + 3600,
  }
}

/** A token with "alg": "none" (RFC 7519, section 6), in two spellings, and one with a random signature. */
export function createUnsignedTokens(now: number): string[] {
  const payload = encode(claimsAt(now))
  const signature = Buffer.alloc(32, 7).toString('base64url')
  return [
    `${encode({ alg: 'none', typ: 'JWT' })}.${payload}.`,
    `${encode({ alg: 'HS256', typ: 'JWT' })}.${payload}.${signature}`,
  ]
}

/** A token that is signed with a word that anybody guesses. */
export function createGuessedToken(word: string, now: number): string {
  const text = `${encode({ alg: 'HS256', typ: 'JWT' })}.${encode(claimsAt(now))}`
  return `${text}.${createHmac('sha256', word).update(text).digest('base64url')}`
}

/** The words with which {@link createGuessedToken} is tried on a route. */
export const triedWords: readonly string[] = guessedWords.slice(0, 24)

/** The word that signed a token; `undefined`: none of the words. */
export function guessKey(token: string, extra: readonly string[] = []): string | undefined {
  const [head = '', payload = '', signature = ''] = token.split('.')
  const { alg } = readPart(head)
  const hash = typeof alg === 'string' ? HASHES[alg] : undefined
  if (hash === undefined) return undefined
  return [...guessedWords, ...extra].find((word) =>
    secretsEqual(
      createHmac(hash, word).update(`${head}.${payload}`).digest('base64url'),
      signature,
    ),
  )
}

/** How many seconds a token is valid; `undefined`: it never expires, or cannot be read. */
export function lifetimeOf(token: string): number | undefined {
  const { exp, iat } = readPart(token.split('.')[1] ?? '')
  if (typeof exp !== 'number') return undefined
  return exp - (typeof iat === 'number' ? iat : Math.floor(Date.now() / 1000))
}

/** The members of a part of a token; none where it cannot be read. */
function readPart(part: string): Readonly<Record<string, unknown>> {
  try {
    const value: unknown = JSON.parse(Buffer.from(part, 'base64url').toString())
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {}
  } catch {
    return {}
  }
}
