/** One-time tokens: `<id>.<secret>`; only the hash of the secret is stored. */
import { createHash } from 'node:crypto'
import { secretsEqual, takeRandom } from '@parapet/kit'

/** What is stored of a token. */
export interface StoredToken {
  readonly hash: string
  readonly expiresAt: number
  /** A used token is kept, so that its second use can be told from a wrong one. */
  readonly usedAt?: number
}

/** @param id of the request that the token belongs to. */
export function createToken(id: string, expiresAt: number): { token: string; stored: StoredToken } {
  const secret = takeRandom(32).toString('base64url')
  return { token: `${id}.${secret}`, stored: { hash: hashOf(secret), expiresAt } }
}

/** @returns `null`: the text has not the form of a token. */
export function parseToken(token: string): { id: string; secret: string } | null {
  const [, id, secret] = /^([0-9a-f-]{36})\.([\w-]{43})$/.exec(token) ?? []
  return id === undefined || secret === undefined ? null : { id, secret }
}

/** Compares in constant time; a missing token is compared, too. */
export function matchesToken(secret: string, stored: StoredToken | undefined): boolean {
  const matches = secretsEqual(hashOf(secret), stored?.hash ?? hashOf(''))
  return matches && stored !== undefined
}

function hashOf(secret: string): string {
  return createHash('sha256').update(secret).digest('base64url')
}
