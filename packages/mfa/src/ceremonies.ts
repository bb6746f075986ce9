/** The two WebAuthn ceremonies, over `@simplewebauthn/server`, with what it leaves open closed. */
import {
  generateAuthenticationOptions,
  generateRegistrationOptions,
  verifyAuthenticationResponse,
  verifyRegistrationResponse,
  type AuthenticationResponseJSON,
  type PublicKeyCredentialCreationOptionsJSON,
  type PublicKeyCredentialRequestOptionsJSON,
  type RegistrationResponseJSON,
} from '@simplewebauthn/server'
import {
  cose,
  decodeAttestationObject,
  decodeCredentialPublicKey,
} from '@simplewebauthn/server/helpers'
import type { Passkey } from './account.ts'
import { isEcdsaSignature } from './der.ts'

/** The relying party. */
export interface PasskeySite {
  /** A domain: `example.org`. Passkeys belong to it for good. */
  readonly rpId: string
  readonly rpName: string
  /** Where pages may ask from: `https://example.org`. */
  readonly origins: readonly string[]
  /** Sites that may frame such a page while it asks. None: no frame of another site may. */
  readonly topOrigins: readonly string[]
}

/** JSON for `PublicKeyCredential.parseCreationOptionsFromJSON`. */
export type RegistrationOptions = PublicKeyCredentialCreationOptionsJSON
/** JSON for `PublicKeyCredential.parseRequestOptionsFromJSON`. */
export type AssertionOptions = PublicKeyCredentialRequestOptionsJSON

/** What a verified answer says. */
export interface Assertion {
  readonly counter: number
  readonly userVerified: boolean
  readonly backedUp: boolean
  /** Whom the passkey says it is of; `null` where it does not. */
  readonly userHandle: string | null
}

/** Ed25519, ES256, ES384, ES512, RS256. @see RFC 9053; IANA COSE algorithms */
const ALGORITHMS = [-8, -7, -35, -36, -257]
/** How long a browser should wait for its user. */
export const CEREMONY_MS = 300_000
const MAX_TRANSPORTS = 8
/**
 * What a browser may send where no attestation is asked for. The others are not even looked at: for
 * some of them the library follows addresses that stand in the certificates of whoever asks.
 *
 * @see WebAuthn Level 3, section 5.1.3
 */
const FORMATS: ReadonlySet<unknown> = new Set(['none', 'packed'])

/** What a browser needs to make a passkey that finds its user by itself. */
export function requestRegistration(
  site: PasskeySite,
  challenge: string,
  userHandle: string,
  userName: string,
  existing: readonly Passkey[],
): Promise<RegistrationOptions> {
  return generateRegistrationOptions({
    rpID: site.rpId,
    rpName: site.rpName,
    userName,
    userID: bytesOf(userHandle),
    challenge: bytesOf(challenge),
    timeout: CEREMONY_MS,
    attestationType: 'none',
    supportedAlgorithmIDs: ALGORITHMS,
    excludeCredentials: existing.map(describe),
    authenticatorSelection: { residentKey: 'required', userVerification: 'required' },
  })
}

/** What a browser needs to answer; without passkeys it offers those it finds. */
export function requestAssertion(
  site: PasskeySite,
  challenge: string,
  passkeys: readonly Passkey[],
): Promise<AssertionOptions> {
  return generateAuthenticationOptions({
    rpID: site.rpId,
    challenge: bytesOf(challenge),
    timeout: CEREMONY_MS,
    userVerification: 'required',
    ...(passkeys.length > 0 ? { allowCredentials: passkeys.map(describe) } : undefined),
  })
}

/** The challenge an answer claims to be for; `null` when it cannot be read. Nothing is checked yet. */
export function challengeOf(response: unknown): string | null {
  const challenge = clientDataOf(response)?.['challenge']
  return typeof challenge === 'string' ? challenge : null
}

/**
 * Checks an answer to {@link requestRegistration}. Attestation is not asked for, and what comes all
 * the same proves nothing about the device: it only has to be consistent.
 *
 * @returns `null` when anything is wrong.
 * @see WebAuthn Level 3, section 7.1
 */
export async function readRegistration(
  site: PasskeySite,
  challenge: string,
  response: unknown,
  name: string,
  now: number,
): Promise<Passkey | null> {
  if (!isFramedWell(site, response)) return null
  const answer = response as RegistrationResponseJSON
  const verification = await settled(async () => {
    const format = decodeAttestationObject(bytesOf(answer.response.attestationObject)).get('fmt')
    if (!FORMATS.has(format)) throw new Error('an attestation that was not asked for')
    return verifyRegistrationResponse({
      response: answer,
      expectedChallenge: challenge,
      expectedOrigin: [...site.origins],
      expectedRPID: site.rpId,
      supportedAlgorithmIDs: ALGORITHMS,
      requireUserVerification: true,
    })
  })
  if (verification?.verified !== true) return null
  const { credential, credentialDeviceType, credentialBackedUp } = verification.registrationInfo
  // What is signed for is the id in the authenticator's data; the one beside it is the client's word.
  if (credential.id !== answer.id) return null
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

/**
 * Checks an answer to {@link requestAssertion}, all but the counter: that is compared after the
 * signature, by whoever keeps it, or anyone could raise a false alarm with a credential id.
 *
 * @returns `null` when anything is wrong.
 * @see WebAuthn Level 3, section 7.2
 */
export async function readAssertion(
  site: PasskeySite,
  challenge: string,
  response: unknown,
  passkey: Passkey,
): Promise<Assertion | null> {
  if (!isFramedWell(site, response)) return null
  const answer = response as AuthenticationResponseJSON
  const verification = await settled(async () => {
    requireStrictSignature(passkey, answer)
    return verifyAuthenticationResponse({
      response: answer,
      expectedChallenge: challenge,
      expectedOrigin: [...site.origins],
      expectedRPID: site.rpId,
      expectedTopOrigin: [...site.topOrigins],
      requireUserVerification: true,
      credential: { id: passkey.id, publicKey: bytesOf(passkey.publicKey), counter: 0 },
    })
  })
  if (verification?.verified !== true) return null
  const { newCounter, userVerified, credentialDeviceType, credentialBackedUp } =
    verification.authenticationInfo
  // Whether a passkey can be copied is fixed when it is made.
  if ((credentialDeviceType === 'multiDevice') !== passkey.backupEligible) return null
  const { userHandle } = answer.response
  return {
    counter: newCounter,
    userVerified,
    backedUp: credentialBackedUp,
    userHandle: typeof userHandle === 'string' && userHandle !== '' ? userHandle : null,
  }
}

/** In a frame of another site only where that site is allowed, and it must be named. */
function isFramedWell(site: PasskeySite, response: unknown): boolean {
  const clientData = clientDataOf(response)
  if (clientData === null) return false
  const { crossOrigin, topOrigin } = clientData
  if (crossOrigin === undefined || crossOrigin === false) return topOrigin === undefined
  return typeof topOrigin === 'string' && site.topOrigins.includes(topOrigin)
}

function clientDataOf(response: unknown): Record<string, unknown> | null {
  try {
    const text = (response as RegistrationResponseJSON).response.clientDataJSON
    const data: unknown = JSON.parse(Buffer.from(text, 'base64url').toString())
    return typeof data === 'object' && data !== null ? (data as Record<string, unknown>) : null
  } catch {
    return null
  }
}

function requireStrictSignature(passkey: Passkey, { response }: AuthenticationResponseJSON): void {
  const key = decodeCredentialPublicKey(bytesOf(passkey.publicKey))
  if (key.get(cose.COSEKEYS.kty) !== cose.COSEKTY.EC2) return
  if (!isEcdsaSignature(bytesOf(response.signature))) throw new Error('not strict DER')
}

/** The library throws at whatever it does not like; why is nobody's business outside. */
async function settled<T>(verify: () => Promise<T>): Promise<T | null> {
  try {
    return await verify()
  } catch {
    return null
  }
}

function describe({ id, transports }: Passkey) {
  return { id, transports: [...transports] }
}

/** A copy with a buffer of its own, as the library's types want it. */
function bytesOf(base64url: string): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(Buffer.from(base64url, 'base64url'))
}
