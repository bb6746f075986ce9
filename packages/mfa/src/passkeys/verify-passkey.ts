/** Verifies a passkey: of a known user, or as a login without a user name. */
import type { Account, StoredPasskey } from '../account/account.ts'
import { PARAPET_MFA_PASSKEY_REFUSED } from '../errors.ts'
import { failed, runAttempt, type Outcome } from '../factors/attempt.ts'
import { issueProof, type Origin } from '../factors/context.ts'
import type { MfaProof } from '../proofs/proof.ts'
import {
  redeemChallenge,
  reportPasskeyFailure,
  type PasskeyContext,
  type PasskeyFailure,
} from './challenges.ts'
import {
  createAssertionOptions,
  verifyAssertion,
  type Assertion,
  type AssertionOptions,
} from './webauthn-authentication.ts'
import type { RelyingParty } from './webauthn-client-data.ts'

/** Creates a challenge and the options for `navigator.credentials.get`. */
export async function beginVerification(
  { factors, relyingParty, challenges }: PasskeyContext,
  userId: string | null,
): Promise<AssertionOptions> {
  const passkeys = userId === null ? [] : (await factors.accounts.read(userId)).passkeys
  const challenge = await challenges.issue({ purpose: purposeOf(userId), userId })
  return createAssertionOptions(partyFor(relyingParty, userId), challenge, passkeys)
}

/**
 * Verifies a response and creates the proof. Each challenge allows one response. Responses are counted
 * per passkey and address, and only for passkeys that exist: nobody can make the other users of an
 * address wait, and invented credential ids store nothing.
 */
export async function finishVerification(
  context: PasskeyContext,
  expected: string | null,
  response: unknown,
  origin: Origin,
): Promise<MfaProof> {
  const ceremony = { purpose: purposeOf(expected), userId: expected }
  const { challenge } = await redeemChallenge(context, response, ceremony, origin)
  const owner = await findOwner(context, expected, response)
  if (owner === null) {
    reportPasskeyFailure(context, expected ?? '', 'unknown', origin)
    throw new PARAPET_MFA_PASSKEY_REFUSED()
  }
  const { userId, passkey } = owner
  const attempt = { userId, method: 'passkey', credentialId: passkey.id, origin } as const
  const ceremonyOfOwner = { expected, challenge, response, origin }
  return runAttempt(context.factors, attempt, () => verify(context, owner, ceremonyOfOwner))
}

interface Owner {
  readonly userId: string
  readonly account: Account
  readonly passkey: StoredPasskey
}

interface Ceremony {
  /** The user who must own the passkey; `null`: any user. */
  readonly expected: string | null
  readonly challenge: string
  readonly response: unknown
  readonly origin: Origin
}

async function verify(
  context: PasskeyContext,
  { userId, account, passkey }: Owner,
  { expected, challenge, response, origin }: Ceremony,
): Promise<Outcome<MfaProof>> {
  const { factors } = context
  const refuse = (reason: PasskeyFailure): Outcome<never> => {
    reportPasskeyFailure(context, userId, reason, origin)
    return failed(new PARAPET_MFA_PASSKEY_REFUSED())
  }
  const relyingParty = partyFor(context.relyingParty, expected)
  const assertion = await verifyAssertion(relyingParty, challenge, response, passkey)
  if (assertion === null) return refuse('signature')
  // In a login without a user name the passkey must name its user; otherwise it may.
  const { userHandle } = assertion
  if (userHandle === null ? expected === null : userHandle !== account.userHandle) {
    return refuse('signature')
  }
  const recorded = await factors.accounts.update(userId, (current) =>
    recordUse(current, passkey, assertion, factors.now()),
  )
  if (recorded !== 'accepted') return refuse(recorded)
  const { userVerified } = assertion
  const flags = { userVerified, backupEligible: passkey.backupEligible }
  const shown = { userId, method: 'passkey', epoch: account.epoch, passkey: flags } as const
  // The owner is here, so the wrong responses from this address are forgiven.
  return { ok: true, value: issueProof(factors, shown, origin) }
}

async function findOwner(
  { factors }: PasskeyContext,
  expected: string | null,
  response: unknown,
): Promise<Owner | null> {
  const { id } = response as { readonly id: unknown }
  if (typeof id !== 'string') return null
  const userId = expected ?? (await factors.accounts.findByCredential(id))
  if (userId === null) return null
  const account = await factors.accounts.read(userId)
  const passkey = account.passkeys.find((each) => each.id === id)
  return passkey === undefined ? null : { userId, account, passkey }
}

/** Compares the counter and stores it. The account may have changed since the signature was checked. */
function recordUse(account: Account, verified: StoredPasskey, assertion: Assertion, now: number) {
  const stored = account.passkeys.find(({ id }) => id === verified.id)
  if (stored === undefined || stored.publicKey !== verified.publicKey) {
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

/** A login has no other factor, so its passkey must verify the user. */
function partyFor(relyingParty: RelyingParty, userId: string | null): RelyingParty {
  return userId === null ? { ...relyingParty, userVerification: 'required' } : relyingParty
}

function purposeOf(userId: string | null): 'verify' | 'login' {
  return userId === null ? 'login' : 'verify'
}
