/** The passkeys of users, at `app.mfa.passkeys`. */
import { changeFactors } from '../account/account.ts'
import { PARAPET_MFA_NOT_FOUND } from '../errors.ts'
import { reportChange, revokeProofs, type FactorContext, type Origin } from '../factors/context.ts'
import type { MfaProof } from '../proofs/proof.ts'
import type { PasskeyContext } from './challenges.ts'
import { beginEnrolment, finishEnrolment } from './enrol-passkey.ts'
import { passkeyIdOf, viewPasskey, type Passkey } from './passkey.ts'
import { beginVerification, finishVerification } from './verify-passkey.ts'
import type { AssertionOptions } from './webauthn-authentication.ts'
import { CEREMONY_MS } from './webauthn-client-data.ts'
import type { RegistrationOptions } from './webauthn-registration.ts'

/** Enrols, verifies, renames and revokes passkeys. */
export interface Passkeys {
  /** Options for `navigator.credentials.create`. The challenge is valid for five minutes. */
  registrationOptions(user: {
    readonly id: string
    readonly name: string
  }): Promise<RegistrationOptions>
  /**
   * Enrols the passkey that a browser has created.
   *
   * @param response the credential's `toJSON()`; it is verified here.
   * @throws PARAPET_MFA_CHALLENGE_REFUSED, PARAPET_MFA_PASSKEY_REFUSED, PARAPET_MFA_PASSKEY_NOT_ADDED
   */
  register(userId: string, response: unknown, name: string, origin?: Origin): Promise<Passkey>
  /** Options for `navigator.credentials.get`. @param userId `null`: any passkey of this site. */
  assertionOptions(userId: string | null): Promise<AssertionOptions>
  /**
   * Verifies a response: challenge, origin, flags, signature and then the counter.
   *
   * @param userId the user who must own the passkey; `null`: its owner is looked up.
   * @throws PARAPET_MFA_CHALLENGE_REFUSED, PARAPET_MFA_PASSKEY_REFUSED, PARAPET_MFA_THROTTLED
   */
  verify(userId: string | null, response: unknown, origin?: Origin): Promise<MfaProof>
  list(userId: string): Promise<readonly Passkey[]>
  /** @param passkeyId the short {@link Passkey.id}. @throws PARAPET_MFA_NOT_FOUND */
  rename(userId: string, passkeyId: string, name: string): Promise<void>
  /** @param passkeyId the short {@link Passkey.id}. @throws PARAPET_MFA_NOT_FOUND */
  revoke(userId: string, passkeyId: string, origin?: Origin): Promise<void>
}

/** How long a challenge is valid: as long as a browser waits for its user. */
export const CHALLENGE_MS = CEREMONY_MS

/** Creates the passkeys of one relying party. */
export function createPasskeys(context: PasskeyContext): Passkeys {
  const { factors } = context
  return {
    registrationOptions: (user) => beginEnrolment(context, user),
    register: async (userId, response, name, origin = {}) =>
      viewPasskey(await finishEnrolment(context, userId, response, name, origin)),
    assertionOptions: (userId) => beginVerification(context, userId),
    verify: (userId, response, origin = {}) =>
      finishVerification(context, userId, response, origin),
    list: async (userId) => (await factors.accounts.read(userId)).passkeys.map(viewPasskey),
    rename: (userId, passkeyId, name) => rename(factors, userId, passkeyId, name),
    revoke: (userId, passkeyId, origin = {}) => revoke(factors, userId, passkeyId, origin),
  }
}

async function rename(
  { accounts }: FactorContext,
  userId: string,
  passkeyId: string,
  name: string,
): Promise<void> {
  const found = await accounts.update(userId, (account) => {
    if (!account.passkeys.some(({ id }) => passkeyIdOf(id) === passkeyId)) return { result: false }
    const passkeys = account.passkeys.map((each) =>
      passkeyIdOf(each.id) === passkeyId ? { ...each, name } : each,
    )
    return { next: { ...account, passkeys }, result: true }
  })
  if (!found) throw new PARAPET_MFA_NOT_FOUND()
}

async function revoke(
  factors: FactorContext,
  userId: string,
  passkeyId: string,
  origin: Origin,
): Promise<void> {
  const found = await factors.accounts.update(userId, (account) => {
    const revoked = account.passkeys.find(({ id }) => passkeyIdOf(id) === passkeyId)
    if (revoked === undefined) return { result: false }
    const passkeys = account.passkeys.filter((each) => each !== revoked)
    const next = changeFactors(account, { passkeys })
    return { next, credentials: { remove: [revoked.id] }, result: true }
  })
  if (!found) throw new PARAPET_MFA_NOT_FOUND()
  await revokeProofs(factors, userId, ['passkey'])
  reportChange(factors, 'removed', userId, 'passkey', origin)
}
