/** Passkeys: enrolling, proving, naming and revoking them. */
import { changeFactors, type Account, type Passkey } from './account.ts'
import {
  challengeOf,
  readAssertion,
  readRegistration,
  requestAssertion,
  requestRegistration,
  type Assertion,
  type AssertionOptions,
  type PasskeySite,
  type RegistrationOptions,
} from './ceremonies.ts'
import {
  endWhatItProved,
  failed,
  prove,
  underGate,
  type Core,
  type Origin,
  type Outcome,
} from './core.ts'
import {
  PARAPET_MFA_CHALLENGE_REFUSED,
  PARAPET_MFA_NOT_FOUND,
  PARAPET_MFA_PASSKEY_NOT_ADDED,
  PARAPET_MFA_PASSKEY_REFUSED,
} from './errors.ts'
import type { OneTime } from './one-time.ts'
import type { MfaProof } from './proof.ts'

/** What waits behind a challenge: what it is for, and for whom (`null`: whoever answers). */
export interface PendingCeremony {
  readonly purpose: 'register' | 'verify' | 'login'
  readonly userId: string | null
  /** For `register`: the epoch it was begun in; whatever changed the account since has ended it. */
  readonly epoch?: number
}

const MAX_PASSKEYS = 20

const ENROLLED_ALREADY = () => new PARAPET_MFA_PASSKEY_NOT_ADDED('it is enrolled already')
const TOO_MANY = () => new PARAPET_MFA_PASSKEY_NOT_ADDED(`an account holds ${MAX_PASSKEYS} at most`)

type Refusal = 'unknown' | 'signature' | 'counter' | 'revoked'

/** Passkeys of users. */
export class Passkeys {
  readonly #core: Core
  readonly #site: PasskeySite
  readonly #challenges: OneTime<PendingCeremony>

  constructor(core: Core, site: PasskeySite, challenges: OneTime<PendingCeremony>) {
    this.#core = core
    this.#site = site
    this.#challenges = challenges
  }

  /** What the browser needs to make a passkey; `navigator.credentials.create` takes it. */
  async registrationOptions(user: {
    readonly id: string
    readonly name: string
  }): Promise<RegistrationOptions> {
    // Written down before it is used: the handle stays the user's, whichever browser comes first.
    const account = await this.#core.accounts.update(user.id, (next) => ({ next, result: next }))
    const { userHandle, passkeys, epoch } = account
    const challenge = await this.#challenges.put({ purpose: 'register', userId: user.id, epoch })
    return requestRegistration(this.#site, challenge, userHandle, user.name, passkeys)
  }

  /**
   * Enrols the passkey a browser has made.
   *
   * @throws PARAPET_MFA_CHALLENGE_REFUSED, PARAPET_MFA_PASSKEY_REFUSED, PARAPET_MFA_PASSKEY_NOT_ADDED
   */
  async register(
    userId: string,
    response: unknown,
    name: string,
    origin: Origin = {},
  ): Promise<Passkey> {
    const core = this.#core
    const { challenge, epoch } = await this.#takeChallenge(response, userId, 'register', origin)
    const passkey = await readRegistration(this.#site, challenge, response, name, core.now())
    if (passkey === null) {
      this.#tellFailed(userId, 'signature', origin)
      throw new PARAPET_MFA_PASSKEY_REFUSED()
    }
    // The record decides about this user's own: an index may have outlived what it led to.
    const owner = await core.accounts.findByCredential(passkey.id)
    const refusal =
      owner !== null && owner !== userId
        ? ENROLLED_ALREADY
        : await core.accounts.update(userId, (account) => add(account, passkey, epoch))
    if (refusal !== null) throw refusal()
    core.emit('mfa.enrolled', userId, { factor: 'passkey' }, origin)
    core.notify({ kind: 'enrolled', userId, factor: 'passkey' })
    return passkey
  }

  /** What the browser needs for an answer; with no user, any passkey of this site may answer. */
  async assertionOptions(userId: string | null): Promise<AssertionOptions> {
    const passkeys = userId === null ? [] : (await this.#core.accounts.read(userId)).passkeys
    const purpose = userId === null ? 'login' : 'verify'
    const challenge = await this.#challenges.put({ purpose, userId })
    return requestAssertion(this.#site, challenge, passkeys)
  }

  /**
   * Checks an answer: challenge, site, flags, signature, and only then the counter.
   *
   * @param userId whom the proof must be of; `null`: whoever the passkey belongs to.
   * @throws PARAPET_MFA_CHALLENGE_REFUSED, PARAPET_MFA_PASSKEY_REFUSED, PARAPET_MFA_THROTTLED
   */
  verify(userId: string | null, response: unknown, origin: Origin = {}): Promise<MfaProof> {
    return underGate(this.#core, origin, 'passkey', userId ?? '', () =>
      this.#verify(userId, response, origin),
    )
  }

  async list(userId: string): Promise<readonly Passkey[]> {
    return (await this.#core.accounts.read(userId)).passkeys
  }

  /** @throws PARAPET_MFA_NOT_FOUND */
  async rename(userId: string, passkeyId: string, name: string): Promise<void> {
    const found = await this.#core.accounts.update(userId, (account) => {
      if (!account.passkeys.some(({ id }) => id === passkeyId)) return { result: false }
      const passkeys = account.passkeys.map((each) =>
        each.id === passkeyId ? { ...each, name } : each,
      )
      return { next: { ...account, passkeys }, result: true }
    })
    if (!found) throw new PARAPET_MFA_NOT_FOUND()
  }

  /** @throws PARAPET_MFA_NOT_FOUND */
  async revoke(userId: string, passkeyId: string, origin: Origin = {}): Promise<void> {
    const core = this.#core
    const found = await core.accounts.update(userId, (account) => {
      const passkeys = account.passkeys.filter(({ id }) => id !== passkeyId)
      if (passkeys.length === account.passkeys.length) return { result: false }
      const next = changeFactors(account, { passkeys })
      return { next, credentials: { remove: [passkeyId] }, result: true }
    })
    if (!found) throw new PARAPET_MFA_NOT_FOUND()
    await endWhatItProved(core, userId, ['passkey'])
    core.emit('mfa.removed', userId, { factor: 'passkey' }, origin)
    core.notify({ kind: 'removed', userId, factor: 'passkey' })
  }

  async #takeChallenge(
    response: unknown,
    userId: string | null,
    purpose: PendingCeremony['purpose'],
    origin: Origin,
  ): Promise<{ readonly challenge: string; readonly epoch: number | undefined }> {
    const challenge = challengeOf(response)
    const pending = challenge === null ? null : await this.#challenges.take(challenge)
    if (challenge === null || pending?.purpose !== purpose || pending.userId !== userId) {
      // What was taken and what came too late look alike.
      this.#core.emit('mfa.replayed', userId ?? '', { method: 'passkey' }, origin, 'low')
      throw new PARAPET_MFA_CHALLENGE_REFUSED()
    }
    return { challenge, epoch: pending.epoch }
  }

  async #verify(
    expected: string | null,
    response: unknown,
    origin: Origin,
  ): Promise<Outcome<MfaProof>> {
    const core = this.#core
    const purpose = expected === null ? 'login' : 'verify'
    const { challenge } = await this.#takeChallenge(response, expected, purpose, origin)
    const { id } = response as { readonly id: unknown }
    if (typeof id !== 'string') return this.#refuse(expected ?? '', 'unknown', origin)
    const userId = expected ?? (await core.accounts.findByCredential(id))
    const account = userId === null ? null : await core.accounts.read(userId)
    const passkey = account?.passkeys.find((each) => each.id === id)
    if (userId === null || account === null || passkey === undefined) {
      return this.#refuse(expected ?? '', 'unknown', origin)
    }
    const assertion = await readAssertion(this.#site, challenge, response, passkey)
    if (assertion === null) return this.#refuse(userId, 'signature', origin)
    // A passkey that finds its user by itself says whom it found.
    const { userHandle } = assertion
    if (userHandle === null ? expected === null : userHandle !== account.userHandle) {
      return this.#refuse(userId, 'signature', origin)
    }
    const settled = await core.accounts.update(userId, (current) =>
      settle(current, passkey, assertion, core.now()),
    )
    if (settled !== 'accepted') return this.#refuse(userId, settled, origin)
    const { userVerified } = assertion
    const flags = { userVerified, backupEligible: passkey.backupEligible }
    const shown = { userId, method: 'passkey', epoch: account.epoch, passkey: flags } as const
    return { ok: true, value: prove(core, shown, origin) }
  }

  #refuse(userId: string, reason: Refusal, origin: Origin): Outcome<never> {
    this.#tellFailed(userId, reason, origin)
    return failed(new PARAPET_MFA_PASSKEY_REFUSED())
  }

  #tellFailed(userId: string, reason: Refusal, origin: Origin): void {
    // The signature was right and the counter is not: there are two of this authenticator.
    const severity = reason === 'counter' ? 'high' : undefined
    const details = { method: 'passkey', reason, failures: 0 } as const
    this.#core.emit('mfa.failed', userId, details, origin, severity)
  }
}

/** Puts a passkey into an account. @returns the error that says why not. */
function add(account: Account, passkey: Passkey, epoch: number | undefined) {
  if (account.passkeys.some(({ id }) => id === passkey.id)) return { result: ENROLLED_ALREADY }
  if (account.passkeys.length >= MAX_PASSKEYS) return { result: TOO_MANY }
  if (account.epoch !== epoch) return { result: () => new PARAPET_MFA_CHALLENGE_REFUSED() }
  // Remembered devices stay: nothing they stand for is gone.
  const { devices } = account
  const next = changeFactors(account, { passkeys: [...account.passkeys, passkey], devices })
  return { next, credentials: { add: passkey.id }, result: null }
}

/** The account may have changed since the signature was checked: what counts is what is there now. */
function settle(account: Account, proved: Passkey, assertion: Assertion, now: number) {
  const stored = account.passkeys.find(({ id }) => id === proved.id)
  if (stored === undefined || stored.publicKey !== proved.publicKey) {
    return { result: 'revoked' as const }
  }
  const { counter, backedUp } = assertion
  const counts = counter > 0 || stored.counter > 0
  if (counts && counter <= stored.counter) return { result: 'counter' as const }
  const passkeys = account.passkeys.map((each) =>
    each.id === stored.id ? { ...stored, counter, backedUp, lastUsedAt: now } : each,
  )
  return { next: { ...account, passkeys }, result: 'accepted' as const }
}
