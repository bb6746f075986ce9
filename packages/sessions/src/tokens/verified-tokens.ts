/**
 * The access tokens that this process has verified, so that a signature is checked once. An entry says
 * only that a key signed the token and that its claims are valid: expiry, revocation and the trust in
 * the key are checked at each use.
 *
 * @see docs/adr/0510-a-token-is-verified-once.md
 */
import { hash } from 'node:crypto'
import type { SigningKey } from '../keys/read-key.ts'
import type { AccessToken } from './access-token.ts'

/** A token whose signature and claims are valid. */
export interface VerifiedToken {
  readonly token: AccessToken
  /** The key that signed it. */
  readonly key: SigningKey
  /** The token is refused before this time, in milliseconds since the Unix epoch. */
  readonly validFrom: number
}

/** See {@link createVerifiedTokens}. */
export interface VerifiedTokens {
  /** The estimated size of all entries, in bytes. Never more than the maximum. */
  readonly bytes: number
  /** How many tokens are kept. */
  readonly size: number
  find(text: string): VerifiedToken | undefined
  add(text: string, verified: VerifiedToken): void
}

interface Entry extends VerifiedToken {
  readonly bytes: number
}

/**
 * Creates the cache. There are two generations: a token that is used moves to the current one. When
 * that holds half of the maximum, it replaces the former one, whose tokens were not used since. So a
 * use costs one lookup, and an addition never searches.
 *
 * @param maxBytes the most that entries may take, by estimate. 0: nothing is kept.
 */
export function createVerifiedTokens(maxBytes: number): VerifiedTokens {
  const half = maxBytes / 2
  let current = new Map<string, Entry>()
  let former = new Map<string, Entry>()
  let bytes = 0
  let formerBytes = 0

  function keep(key: string, entry: Entry): void {
    if (entry.bytes > half) return
    if (bytes + entry.bytes > half) {
      former = current
      formerBytes = bytes
      current = new Map()
      bytes = 0
    }
    current.set(key, entry)
    bytes += entry.bytes
  }

  return {
    get bytes() {
      return bytes + formerBytes
    },
    get size() {
      return current.size + former.size
    },
    find(text) {
      if (maxBytes === 0) return undefined
      const key = keyOf(text)
      const entry = current.get(key)
      if (entry !== undefined) return entry
      const older = former.get(key)
      if (older === undefined) return undefined
      former.delete(key)
      formerBytes -= older.bytes
      keep(key, older)
      return older
    },
    add(text, verified) {
      if (maxBytes === 0) return
      const key = keyOf(text)
      // The key that signed the earlier entry is no longer the one that is trusted.
      bytes -= current.get(key)?.bytes ?? 0
      current.delete(key)
      keep(key, { ...verified, bytes: sizeOf(text, verified) })
    },
  }
}

/** The objects of an entry, its place in the map, its claims and its principal; measured, and rounded up. */
function sizeOf({ length }: string, { token: { user, amr } }: VerifiedToken): number {
  const names = user.roles.length + (user.permissions?.length ?? 0) + amr.length
  return 768 + length + 64 * names
}

/** The token itself is not kept: a dump of the memory must not contain credentials. */
function keyOf(text: string): string {
  return hash('sha256', text, 'binary')
}
