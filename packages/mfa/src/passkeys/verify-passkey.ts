/** Verifies a passkey: of a known user, or as a login without a user name. */
import type { Account, Passkey } from '../account/account.ts'
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

/** Creates a challenge and the options for `navigator.credentials.get`. */
export async function beginVerification(
  { factors, relyingParty, challenges }: PasskeyContext,
  userId: string | null,
): Promise<AssertionOptions> {
  const passkeys = userId === null ? [] : (await factors.accounts.read(userId)).passkeys
  const challenge = await challenges.issue({ purpose: purposeOf(userId), userId })
  return createAssertionOptions(relyingParty, challenge, passkeys)
}

/** Verifies a response and creates the proof. */
export function finishVerification(
  context: PasskeyContext,
  userId: string | null,
  response: unknown,
  origin: Origin,
): Promise<MfaProof> {
  const attempt = { userId: userId ?? '', method: 'passkey', origin } as const
  return runAttempt(context.factors, attempt, () => verify(context, userId, response, origin))
}

async function verify(
  context: PasskeyContext,
  expected: string | null,
  response: unknown,
  origin: Origin,
): Promise<Outcome<MfaProof>> {
  const { factors, relyingParty } = context
  const refuse = (userId: string, reason: PasskeyFailure): Outcome<never> => {
    reportPasskeyFailure(context, userId, reason, origin)
    return failed(new PARAPET_MFA_PASSKEY_REFUSED())
  }
  const ceremony = { purpose: purposeOf(expected), userId: expected }
  const { challenge } = await redeemChallenge(context, response, ceremony, origin)
  const owner = await findOwner(context, expected, response)
  if (owner === null) return refuse(expected ?? '', 'unknown')
  const { userId, account, passkey } = owner
  const assertion = await verifyAssertion(relyingParty, challenge, response, passkey)
  if (assertion === null) return refuse(userId, 'signature')
  // In a login without a user name the passkey must name its user; otherwise it may.
  const { userHandle } = assertion
  if (userHandle === null ? expected === null : userHandle !== account.userHandle) {
    return refuse(userId, 'signature')
  }
  const recorded = await factors.accounts.update(userId, (current) =>
    recordUse(current, passkey, assertion, factors.now()),
  )
  if (recorded !== 'accepted') return refuse(userId, recorded)
  const { userVerified } = assertion
  const flags = { userVerified, backupEligible: passkey.backupEligible }
  const shown = { userId, method: 'passkey', epoch: account.epoch, passkey: flags } as const
  return { ok: true, value: issueProof(factors, shown, origin) }
}

async function findOwner(
  { factors }: PasskeyContext,
  expected: string | null,
  response: unknown,
): Promise<{ userId: string; account: Account; passkey: Passkey } | null> {
  const { id } = response as { readonly id: unknown }
  if (typeof id !== 'string') return null
  const userId = expected ?? (await factors.accounts.findByCredential(id))
  if (userId === null) return null
  const account = await factors.accounts.read(userId)
  const passkey = account.passkeys.find((each) => each.id === id)
  return passkey === undefined ? null : { userId, account, passkey }
}

/** Compares the counter and stores it. The account may have changed since the signature was checked. */
function recordUse(account: Account, verified: Passkey, assertion: Assertion, now: number) {
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

function purposeOf(userId: string | null): 'verify' | 'login' {
  return userId === null ? 'login' : 'verify'
}
