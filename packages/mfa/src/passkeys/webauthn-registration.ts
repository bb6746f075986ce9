/** WebAuthn registration: options for the browser, and verification of its response. */
import {
  generateRegistrationOptions,
  verifyRegistrationResponse,
  type PublicKeyCredentialCreationOptionsJSON,
  type RegistrationResponseJSON,
} from '@simplewebauthn/server'
import { decodeAttestationObject } from '@simplewebauthn/server/helpers'
import type { StoredPasskey } from '../account/account.ts'
import {
  bytesOf,
  CEREMONY_MS,
  hasKnownForm,
  isFrameAllowed,
  orNull,
  toDescriptor,
  type RelyingParty,
} from './webauthn-client-data.ts'

/** JSON for `PublicKeyCredential.parseCreationOptionsFromJSON`. */
export type RegistrationOptions = PublicKeyCredentialCreationOptionsJSON

/** Ed25519, ES256, ES384, ES512, RS256. @see RFC 9053; IANA COSE algorithms */
const ALGORITHMS = [-8, -7, -35, -36, -257]
const MAX_TRANSPORTS = 8
/**
 * The attestation formats that a browser may send when attestation is not requested. All others are
 * refused unread: for some of them the library fetches URLs from the attacker's certificate.
 *
 * @see WebAuthn Level 3, section 5.1.3
 */
const FORMATS: ReadonlySet<unknown> = new Set(['none', 'packed'])

/**
 * Creates options for a discoverable passkey, which can sign in without a user name. Where user
 * verification is preferred, a security key without a PIN is accepted too, and those cannot store one.
 */
export async function createRegistrationOptions(
  relyingParty: RelyingParty,
  challenge: string,
  userHandle: string,
  userName: string,
  existing: readonly StoredPasskey[],
): Promise<RegistrationOptions> {
  const { userVerification } = relyingParty
  return generateRegistrationOptions({
    rpID: relyingParty.rpId,
    rpName: relyingParty.rpName,
    userName,
    userID: bytesOf(userHandle),
    challenge: bytesOf(challenge),
    timeout: CEREMONY_MS,
    attestationType: 'none',
    supportedAlgorithmIDs: ALGORITHMS,
    excludeCredentials: existing.map(toDescriptor),
    authenticatorSelection: { residentKey: userVerification, userVerification },
  })
}

/**
 * Verifies a response to {@link createRegistrationOptions}. Attestation is not requested. If a browser
 * sends one it must be consistent, but it proves nothing about the device.
 *
 * @returns the passkey; `null` if anything is wrong.
 * @see WebAuthn Level 3, section 7.1
 */
export async function verifyRegistration(
  relyingParty: RelyingParty,
  challenge: string,
  response: unknown,
  name: string,
  now: number,
): Promise<StoredPasskey | null> {
  if (!isFrameAllowed(relyingParty, response) || !hasKnownForm(response)) return null
  const registration = response as RegistrationResponseJSON
  const verification = await orNull(async () => {
    const attestation = bytesOf(registration.response.attestationObject)
    const format = decodeAttestationObject(attestation).get('fmt')
    if (!FORMATS.has(format)) throw new Error('attestation was not requested')
    return verifyRegistrationResponse({
      response: registration,
      expectedChallenge: challenge,
      expectedOrigin: [...relyingParty.origins],
      expectedRPID: relyingParty.rpId,
      supportedAlgorithmIDs: ALGORITHMS,
      requireUserVerification: relyingParty.userVerification === 'required',
    })
  })
  if (verification?.verified !== true) return null
  const { credential, credentialDeviceType, credentialBackedUp } = verification.registrationInfo
  // The authenticator's data holds the real id; the id beside it was set by the client.
  if (credential.id !== registration.id) return null
  return {
    id: credential.id,
    publicKey: Buffer.from(credential.publicKey).toString('base64url'),
    counter: credential.counter,
    transports: (credential.transports ?? []).slice(0, MAX_TRANSPORTS),
    name,
    createdAt: now,
    lastUsedAt: now,
    backupEligible: credentialDeviceType === 'multiDevice',
    backedUp: credentialBackedUp,
  }
}
