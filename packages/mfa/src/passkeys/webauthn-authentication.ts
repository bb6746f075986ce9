/** WebAuthn authentication: options for the browser, and verification of its response. */
import {
  generateAuthenticationOptions,
  verifyAuthenticationResponse,
  type AuthenticationResponseJSON,
  type PublicKeyCredentialRequestOptionsJSON,
} from '@simplewebauthn/server'
import { cose, decodeCredentialPublicKey } from '@simplewebauthn/server/helpers'
import type { StoredPasskey } from '../account/account.ts'
import { isEcdsaSignature } from './ecdsa-signature.ts'
import {
  bytesOf,
  CEREMONY_MS,
  hasKnownForm,
  isFrameAllowed,
  orNull,
  toDescriptor,
  type RelyingParty,
} from './webauthn-client-data.ts'

/** JSON for `PublicKeyCredential.parseRequestOptionsFromJSON`. */
export type AssertionOptions = PublicKeyCredentialRequestOptionsJSON

/** The content of a verified response. */
export interface Assertion {
  readonly counter: number
  readonly userVerified: boolean
  readonly backedUp: boolean
  /** The user handle that the passkey returned; `null` if it returned none. */
  readonly userHandle: string | null
}

/** Creates options; without passkeys the browser offers those that it finds for this site. */
export async function createAssertionOptions(
  relyingParty: RelyingParty,
  challenge: string,
  passkeys: readonly StoredPasskey[],
): Promise<AssertionOptions> {
  return generateAuthenticationOptions({
    rpID: relyingParty.rpId,
    challenge: bytesOf(challenge),
    timeout: CEREMONY_MS,
    userVerification: relyingParty.userVerification,
    ...(passkeys.length > 0 ? { allowCredentials: passkeys.map(toDescriptor) } : undefined),
  })
}

/**
 * Verifies a response to {@link createAssertionOptions}, except for the counter. The caller compares
 * the counter after the signature; otherwise anyone who knows a credential id could raise a false
 * alarm about a cloned passkey.
 *
 * @returns `null` if anything is wrong.
 * @see WebAuthn Level 3, section 7.2
 */
export async function verifyAssertion(
  relyingParty: RelyingParty,
  challenge: string,
  response: unknown,
  passkey: StoredPasskey,
): Promise<Assertion | null> {
  if (!isFrameAllowed(relyingParty, response) || !hasKnownForm(response)) return null
  const authentication = response as AuthenticationResponseJSON
  const verification = await orNull(async () => {
    requireStrictSignature(passkey, authentication)
    return verifyAuthenticationResponse({
      response: authentication,
      expectedChallenge: challenge,
      expectedOrigin: [...relyingParty.origins],
      expectedRPID: relyingParty.rpId,
      expectedTopOrigin: [...relyingParty.topOrigins],
      requireUserVerification: relyingParty.userVerification === 'required',
      credential: { id: passkey.id, publicKey: bytesOf(passkey.publicKey), counter: 0 },
    })
  })
  if (verification?.verified !== true) return null
  const { newCounter, userVerified, credentialDeviceType, credentialBackedUp } =
    verification.authenticationInfo
  // Backup eligibility is fixed at registration, so a changed flag means a forged response.
  if ((credentialDeviceType === 'multiDevice') !== passkey.backupEligible) return null
  const { userHandle } = authentication.response
  return {
    counter: newCounter,
    userVerified,
    backedUp: credentialBackedUp,
    userHandle: typeof userHandle === 'string' && userHandle !== '' ? userHandle : null,
  }
}

function requireStrictSignature(
  passkey: StoredPasskey,
  { response }: AuthenticationResponseJSON,
): void {
  const key = decodeCredentialPublicKey(bytesOf(passkey.publicKey))
  if (key.get(cose.COSEKEYS.kty) !== cose.COSEKTY.EC2) return
  if (!isEcdsaSignature(bytesOf(response.signature))) throw new Error('not strict DER')
}
