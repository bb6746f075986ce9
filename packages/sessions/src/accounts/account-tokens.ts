/**
 * One-time tokens in links. There is one for each purpose and account, so a newer one replaces the one before. It
 * ends with the password, the address and the sessions that the account had when it was made.
 *
 * @see docs/spec/account-token.md
 */
import { createHash, createHmac } from 'node:crypto'
import { secretsEqual, takeRandom, type Store } from '@parapet/kit'
import { birthOf, hasEnded, type TokenEpochs } from '../revocation/epoch.ts'
import type { Epochs } from '../revocation/epochs.ts'
import { deriveKey } from '../secrets/derive-key.ts'
import type { RecordSeal } from '../secrets/record-seal.ts'
import { isUserId } from '../users/names.ts'
import type { Account } from './account.ts'

/** What a token is for. */
export type TokenPurpose = 'reset' | 'verify' | 'change' | 'magic'

/** How long each kind of token works, in milliseconds. */
export const TOKEN_LIFETIMES_MS: Readonly<Record<TokenPurpose, number>> = Object.freeze({
  reset: 900_000,
  verify: 86_400_000,
  change: 86_400_000,
  magic: 600_000,
})

/** How often a wrong password may be sent with one token. */
const MAX_TRIES = 10
const SECRET = /^[\w-]{43}$/
/** Of 300 characters of four bytes each. */
const MAX_ID_LENGTH = 1600

/** A token that was found; it is not used up yet. */
export interface FoundToken {
  readonly userId: string
  /** The text in the store, which {@link AccountTokens.take} compares. */
  readonly stored: string
  /** The address that the account is to have; only of the purpose `change`. */
  readonly newEmail: string | null
}

/** See {@link createAccountTokens}. Methods reject with the store's error. */
export interface AccountTokens {
  /** Since when the sessions of a user have not ended, for {@link AccountTokens.issue}. */
  birthOf(userId: string): Promise<TokenEpochs>
  /**
   * Makes a token, and makes the one before invalid.
   *
   * @param born when it was asked for: the token ends with the sessions of then. @default now
   */
  issue(
    purpose: TokenPurpose,
    account: Account,
    newEmail?: string,
    born?: TokenEpochs,
  ): Promise<{ readonly token: string; readonly expiresAt: number }>
  /** `null`: the token is malformed, unknown, expired, used or replaced. */
  find(purpose: TokenPurpose, token: string): Promise<FoundToken | null>
  /** Whether the account is as it was when the token was made. */
  isCurrent(found: FoundToken, account: Account): Promise<boolean>
  /** Counts a wrong password. Ends the token after ten. */
  countTry(purpose: TokenPurpose, found: FoundToken): Promise<void>
  /** Uses up the token. @returns `true` to one of concurrent callers. */
  take(purpose: TokenPurpose, found: FoundToken): Promise<boolean>
  /** Ends the tokens of an account. */
  clear(userId: string): Promise<void>
}

/** What {@link createAccountTokens} needs. */
export interface AccountTokenSettings {
  readonly store: Store
  readonly seal: RecordSeal
  readonly epochs: Epochs
  /** The first derives the key of the mark of password hashes. */
  readonly secrets: readonly string[]
  readonly now: () => number
}

interface StoredToken {
  readonly h: string
  readonly e: string
  readonly n: string | null
  readonly b: readonly [user: number, fleet: number]
  readonly p: string
  readonly x: number
}

/** Creates the tokens of one store. */
export function createAccountTokens(settings: AccountTokenSettings): AccountTokens {
  return new StoredAccountTokens(settings)
}

class StoredAccountTokens implements AccountTokens {
  readonly #settings: AccountTokenSettings
  readonly #markKeys: readonly Buffer[]

  constructor(settings: AccountTokenSettings) {
    this.#settings = settings
    this.#markKeys = settings.secrets.map((secret) => deriveKey(secret, 'password mark'))
  }

  async birthOf(userId: string): Promise<TokenEpochs> {
    return birthOf(await this.#settings.epochs.open(userId))
  }

  async issue(
    purpose: TokenPurpose,
    account: Account,
    newEmail?: string,
    born?: TokenEpochs,
  ): Promise<{ readonly token: string; readonly expiresAt: number }> {
    const { store, seal, now } = this.#settings
    const { id } = account.user
    const [token, secret] = createLinkToken(purpose, id)
    const { user, fleet } = born ?? (await this.birthOf(id))
    const expiresAt = now() + TOKEN_LIFETIMES_MS[purpose]
    const record: StoredToken = {
      h: hashSecret(secret),
      e: account.email,
      n: newEmail ?? null,
      b: [user, fleet],
      p: markBy(this.#markKeys[0]!, account.passwordHash),
      x: expiresAt,
    }
    const text = seal.seal('account-token', `${purpose} ${id}`, JSON.stringify(record))
    await store.delete(triesKey(purpose, id))
    await store.set(keyOf(purpose, id), text, TOKEN_LIFETIMES_MS[purpose])
    return { token, expiresAt }
  }

  async find(purpose: TokenPurpose, token: string): Promise<FoundToken | null> {
    const { store, seal, now } = this.#settings
    const link = readLinkToken(purpose, token)
    const stored = link === null ? null : await store.get(keyOf(purpose, link.userId))
    if (link === null || stored === null) return null
    const { userId, secret } = link
    const json = seal.open('account-token', `${purpose} ${userId}`, stored)
    const record = json === null ? null : (JSON.parse(json) as StoredToken)
    if (record === null || record.x <= now()) return null
    const isRight = secretsEqual(record.h, hashSecret(secret))
    return isRight ? { userId, stored, newEmail: record.n } : null
  }

  async isCurrent({ stored }: FoundToken, account: Account): Promise<boolean> {
    const { b, e, p } = JSON.parse(stored) as StoredToken
    const born: TokenEpochs = { user: b[0], fleet: b[1] }
    const marks = this.#markKeys.map((key) => markBy(key, account.passwordHash))
    if (!marks.some((mark) => secretsEqual(p, mark))) return false
    if (e !== account.email || account.disabled === true) return false
    return !hasEnded('', born, await this.#settings.epochs.read(account.user.id))
  }

  async countTry(purpose: TokenPurpose, { userId }: FoundToken): Promise<void> {
    const { store } = this.#settings
    const windows = [{ windowMs: TOKEN_LIFETIMES_MS[purpose], limit: MAX_TRIES - 1 }]
    const { counted } = await store.count(triesKey(purpose, userId), windows)
    if (!counted) await store.delete(keyOf(purpose, userId))
  }

  take(purpose: TokenPurpose, { userId, stored }: FoundToken): Promise<boolean> {
    const { store } = this.#settings
    return store.compareAndSet(keyOf(purpose, userId), stored, null, TOKEN_LIFETIMES_MS[purpose])
  }

  async clear(userId: string): Promise<void> {
    const purposes = Object.keys(TOKEN_LIFETIMES_MS) as TokenPurpose[]
    await Promise.all(
      purposes.map((purpose) => this.#settings.store.delete(keyOf(purpose, userId))),
    )
  }
}

/** Names a password hash without storing it once more. */
function markBy(key: Buffer, hash: string | null): string {
  return createHmac('sha256', key)
    .update(hash ?? '')
    .digest('base64url')
    .slice(0, 22)
}

/** A new token of an account, and the secret in it. */
export function createLinkToken(purpose: string, userId: string): [token: string, secret: string] {
  const secret = takeRandom(32).toString('base64url')
  return [`${purpose}.${Buffer.from(userId).toString('base64url')}.${secret}`, secret]
}

/** Reads a token; `null`: it is not in the one form that {@link createLinkToken} writes. */
export function readLinkToken(
  purpose: string,
  token: string,
): { readonly userId: string; readonly secret: string } | null {
  const [found, id, secret, ...rest] = token.split('.', 4)
  if (found !== purpose || id === undefined || secret === undefined || rest.length > 0) return null
  if (id.length > MAX_ID_LENGTH || !SECRET.test(secret)) return null
  const userId = Buffer.from(id, 'base64url').toString()
  if (Buffer.from(userId).toString('base64url') !== id || !isUserId(userId)) return null
  if (Buffer.from(secret, 'base64url').toString('base64url') !== secret) return null
  return { userId, secret }
}

/** What is stored of a secret of 256 random bits. */
export function hashSecret(secret: string): string {
  return createHash('sha256').update(`parapet account token ${secret}`).digest('base64url')
}

function keyOf(purpose: TokenPurpose, userId: string): string {
  return `sessions:account-token:${purpose}:${userId}`
}

function triesKey(purpose: TokenPurpose, userId: string): string {
  return `sessions:account-token-tries:${purpose}:${userId}`
}
