/** Enrols a passkey. */
import { changeFactors, hasFactor, type Account, type StoredPasskey } from '../account/account.ts'
import type { Change } from '../account/accounts.ts'
import {
  PARAPET_MFA_CHALLENGE_REFUSED,
  PARAPET_MFA_PASSKEY_NOT_ADDED,
  PARAPET_MFA_PASSKEY_REFUSED,
} from '../errors.ts'
import { reportChange, type Origin } from '../factors/context.ts'
import { redeemChallenge, reportPasskeyFailure, type PasskeyContext } from './challenges.ts'
import {
  createRegistrationOptions,
  verifyRegistration,
  type RegistrationOptions,
} from './webauthn-registration.ts'

const MAX_PASSKEYS = 20

const alreadyEnrolled = () => new PARAPET_MFA_PASSKEY_NOT_ADDED('it is already enrolled')
const tooMany = () =>
  new PARAPET_MFA_PASSKEY_NOT_ADDED(
    `the account already has ${MAX_PASSKEYS} passkeys, which is the maximum`,
  )
const epochChanged = () => new PARAPET_MFA_CHALLENGE_REFUSED()

/** Creates a challenge and the options for `navigator.credentials.create`. */
export async function beginEnrolment(
  { factors, relyingParty, challenges }: PasskeyContext,
  user: { readonly id: string; readonly name: string },
): Promise<RegistrationOptions> {
  // The account is written even if it is new: concurrent enrolments must get the same user handle.
  const account = await factors.accounts.update(user.id, (next) => ({ next, result: next }))
  const { userHandle, passkeys, epoch } = account
  const challenge = await challenges.issue({ purpose: 'register', userId: user.id, epoch })
  return createRegistrationOptions(relyingParty, challenge, userHandle, user.name, passkeys)
}

/** Verifies the response and adds the passkey to the account. */
export async function finishEnrolment(
  context: PasskeyContext,
  userId: string,
  response: unknown,
  name: string,
  origin: Origin,
): Promise<StoredPasskey> {
  const { factors, relyingParty } = context
  const expected = { purpose: 'register', userId } as const
  const { challenge, epoch } = await redeemChallenge(context, response, expected, origin)
  const passkey = await verifyRegistration(relyingParty, challenge, response, name, factors.now())
  if (passkey === null) {
    reportPasskeyFailure(context, userId, 'signature', origin)
    throw new PARAPET_MFA_PASSKEY_REFUSED()
  }
  // Only another owner is refused here. For the user's own passkeys the account decides, because an
  // index entry may be left over from a write that failed.
  const owner = await factors.accounts.findByCredential(passkey.id)
  if (owner !== null && owner !== userId) throw alreadyEnrolled()
  const { refusal, isFirst } = await factors.accounts.update(userId, (account) =>
    addPasskey(account, passkey, epoch),
  )
  if (refusal !== undefined) throw refusal()
  reportChange(factors, 'enrolled', userId, 'passkey', origin, isFirst)
  return passkey
}

/** Whether the passkey is the first factor of the account, or what creates the error. */
interface Added {
  readonly refusal?: () => Error
  readonly isFirst?: boolean
}

function addPasskey(
  account: Account,
  passkey: StoredPasskey,
  epoch: number | undefined,
): Change<Added> {
  const isKnown = account.passkeys.some(({ id }) => id === passkey.id)
  if (isKnown) return { result: { refusal: alreadyEnrolled } }
  if (account.passkeys.length >= MAX_PASSKEYS) return { result: { refusal: tooMany } }
  if (account.epoch !== epoch) return { result: { refusal: epochChanged } }
  // Adding a factor removes none, so remembered devices stay valid.
  const { devices } = account
  const next = changeFactors(account, { passkeys: [...account.passkeys, passkey], devices })
  return { next, credentials: { add: passkey.id }, result: { isFirst: !hasFactor(account) } }
}
