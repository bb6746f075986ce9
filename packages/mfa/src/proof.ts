/** Proofs: what was shown, what assurance follows from it, and which session may use it. */
import type { Principal, Store } from '@parapet/kit'
import { hashText } from './digest.ts'
import { PARAPET_MFA_BUSY, PARAPET_MFA_INVALID_ARGUMENT } from './errors.ts'
import type { Method } from './events.ts'

const kProof: unique symbol = Symbol('@parapet/mfa:proof')

/**
 * That a user has just proved a second factor. Only this plugin makes one, and only after it has
 * checked the factor; hand it to whatever issues sessions.
 */
export interface MfaProof {
  readonly [kProof]: true
  readonly userId: string
  readonly method: Method
  /** Authenticator assurance level, computed. @see NIST SP 800-63B-4, section 2 */
  readonly aal: 1 | 2
  /** Whether the proof was bound to the site it was made for. */
  readonly phishingResistant: boolean
  /** Everything that was shown, this proof and what came before it. @see RFC 8176 */
  readonly amr: readonly string[]
  /** Milliseconds since the Unix epoch. */
  readonly provedAt: number
  /** The {@link Account.epoch} it was made in. */
  readonly epoch: number
}

/** What a session may show of its user. */
export interface Mark {
  readonly method: Method | 'device'
  readonly aal: number
  readonly phishingResistant: boolean
  readonly provedAt: number
  /** For `device`: which one. */
  readonly deviceId?: string
}

/** What was shown, in the terms from which the level follows. */
export interface Shown {
  readonly userId: string
  readonly method: Method
  readonly provedAt: number
  readonly epoch: number
  /** What the login had proved before. @see RFC 8176 */
  readonly before: readonly string[]
  /** Flags of the passkey's answer. */
  readonly passkey?: { readonly userVerified: boolean; readonly backupEligible: boolean }
}

/** The kinds of factor behind the values of RFC 8176. */
const KINDS: ReadonlyMap<string, 'knowledge' | 'possession' | 'inherence'> = new Map([
  ...['pwd', 'pin', 'kba'].map((amr) => [amr, 'knowledge'] as const),
  ...['otp', 'hwk', 'swk', 'sms', 'tel', 'sc', 'pop'].map((amr) => [amr, 'possession'] as const),
  ...['face', 'fpt', 'iris', 'retina', 'vbm'].map((amr) => [amr, 'inherence'] as const),
])
/** Words about other values: they say that, not what. */
const CLAIMS = new Set(['mfa', 'mca', 'user', 'rba', 'geo'])
const genuine = new WeakSet<object>()

/** Makes a proof of what was shown. Its level follows from the kinds and flags and nothing else. */
export function createProof(shown: Shown): MfaProof {
  const { userId, method, provedAt, epoch, before, passkey } = shown
  const own =
    passkey === undefined
      ? ['otp']
      : [passkey.backupEligible ? 'swk' : 'hwk', ...(passkey.userVerified ? ['user', 'mfa'] : [])]
  const amr = [...new Set([...before, ...own])]
  // A login elsewhere (`oidc`) proved something, and only that login knows what: a kind of its own.
  const kinds = new Set(
    amr.filter((value) => !CLAIMS.has(value)).map((value) => KINDS.get(value) ?? 'elsewhere'),
  )
  const proof = Object.freeze({
    [kProof]: true as const,
    userId,
    method,
    aal: kinds.size > 1 || passkey?.userVerified === true ? (2 as const) : (1 as const),
    phishingResistant: passkey !== undefined,
    amr: Object.freeze(kinds.size > 1 && !amr.includes('mfa') ? [...amr, 'mfa'] : amr),
    provedAt,
    epoch,
  })
  genuine.add(proof)
  return proof
}

/** What a login has proved of a caller: a password where it does not say. */
export function provedBefore(principal: Principal | null): readonly string[] {
  return principal === null ? [] : (principal.amr ?? ['pwd'])
}

/** @throws PARAPET_MFA_INVALID_ARGUMENT the value was not made by {@link createProof}. */
export function requireProof(value: MfaProof): void {
  if (typeof value !== 'object' || value === null || !genuine.has(value)) {
    throw new PARAPET_MFA_INVALID_ARGUMENT('a proof', 'must be one that this plugin made')
  }
}

/** The proofs of sessions, in the store. */
export interface Marks {
  /** What a session has shown, one mark a method. */
  find(userId: string, sessionId: string): Promise<readonly Mark[]>
  set(userId: string, sessionId: string, mark: Mark): Promise<void>
  /** Takes marks away: all of a user, or those that `which` picks. */
  clear(userId: string, which?: (mark: Mark) => boolean): Promise<void>
}

type Row = readonly [sessionHash: string, mark: Mark]

const MAX_MARKS = 100
const MAX_TRIES = 64

/**
 * Keeps marks: all of one user under one key, so that a reset ends them in one step. Of more than 100
 * the oldest makes room. Session ids are kept as hashes.
 *
 * @param ttlMs how long a proof counts at all.
 */
export function createMarks(store: Store, ttlMs: number, now: () => number): Marks {
  const rowsOf = (text: string | null): Row[] =>
    (text === null ? [] : (JSON.parse(text) as Row[])).filter(
      ([, mark]) => Math.abs(now() - mark.provedAt) < ttlMs,
    )

  async function change(userId: string, edit: (rows: Row[]) => Row[]): Promise<void> {
    const key = keyOf(userId)
    for (let tries = 0; tries < MAX_TRIES; tries++) {
      const before = await store.get(key)
      const rows = edit(rowsOf(before)).slice(-MAX_MARKS)
      const after = rows.length === 0 ? null : JSON.stringify(rows)
      if (before === after || (await store.compareAndSet(key, before, after, ttlMs))) return
    }
    throw new PARAPET_MFA_BUSY()
  }

  return {
    async find(userId, sessionId) {
      const text = await store.get(keyOf(userId))
      if (text === null) return []
      const hash = hashText(sessionId)
      return rowsOf(text).flatMap(([session, mark]) => (session === hash ? [mark] : []))
    },
    set(userId, sessionId, mark) {
      const hash = hashText(sessionId)
      const replaced = ([session, { method }]: Row) => session === hash && method === mark.method
      return change(userId, (rows) => [...rows.filter((row) => !replaced(row)), [hash, mark]])
    },
    async clear(userId, which) {
      if (which === undefined) await store.delete(keyOf(userId))
      else await change(userId, (rows) => rows.filter(([, mark]) => !which(mark)))
    },
  }
}

function keyOf(userId: string): string {
  return `mfa:marks:${userId}`
}
