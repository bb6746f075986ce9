import { readVectors, runs } from '@parapet/testing'
import {
  verifyAuthenticationResponse,
  verifyRegistrationResponse,
  type AuthenticationResponseJSON,
  type RegistrationResponseJSON,
} from '@simplewebauthn/server'
import t from 'tap'
import type { StoredPasskey } from '../src/account/account.ts'
import { isEcdsaSignature } from '../src/passkeys/ecdsa-signature.ts'
import { verifyAssertion } from '../src/passkeys/webauthn-authentication.ts'
import type { RelyingParty } from '../src/passkeys/webauthn-client-data.ts'
import { verifyRegistration } from '../src/passkeys/webauthn-registration.ts'
import { Authenticator, FLAGS, ORIGIN, RP_ID } from './authenticator.ts'

type Hex = Readonly<Record<string, string>>
interface WebauthnVectors {
  readonly rpId: string
  readonly origin: string
  readonly topOrigin: string
  readonly vectors: readonly { id: string; registration: Hex; authentication: Hex }[]
}

type Verdict = 'accepted' | 'accepted where the site is allowed' | 'user not verified' | 'refused'

/**
 * The verdict on each of the 15 pairs: of this plugin on registration and authentication, then of the
 * library alone on both, without user verification.
 */
const VERDICTS: Readonly<Record<string, readonly [Verdict, Verdict, boolean, boolean]>> = {
  'none-es256': ['user not verified', 'user not verified', true, true],
  'packed-self-es256': ['accepted', 'user not verified', true, true],
  // In a frame whose site is not named. The library accepts it.
  'none-es256-crossOrigin': ['refused', 'refused', true, true],
  'none-es256-topOrigin': ['user not verified', 'accepted where the site is allowed', true, true],
  'none-es256-long-credential-id': ['user not verified', 'accepted', true, true],
  'packed-es256': ['accepted', 'accepted', true, true],
  'packed-es384': ['user not verified', 'accepted', true, true],
  'packed-es512': ['accepted', 'user not verified', true, true],
  'packed-rs256': ['accepted', 'user not verified', true, true],
  'packed-eddsa': ['user not verified', 'user not verified', true, true],
  // Ed448 is not offered, and the library cannot verify its signatures.
  'packed-ed448': ['user not verified', 'refused', true, false],
  // The TPM has the vendor id 0, which is not assigned.
  'tpm-es256': ['refused', 'accepted', false, true],
  // Its attestation chain has no path.
  'android-key-es256': ['refused', 'user not verified', false, true],
  // Its attestation chain ends in the root of the vectors instead of Apple's.
  'apple-es256': ['user not verified', 'user not verified', false, true],
  // A U2F key must have no AAGUID, and this one has.
  'fido-u2f-es256': ['user not verified', 'user not verified', false, true],
}

const b64 = (hex: string): string => Buffer.from(hex, 'hex').toString('base64url')

function registrationOf({ credential_id, clientDataJSON, attestationObject }: Hex) {
  return {
    id: b64(credential_id!),
    rawId: b64(credential_id!),
    type: 'public-key',
    response: { clientDataJSON: b64(clientDataJSON!), attestationObject: b64(attestationObject!) },
    clientExtensionResults: {},
  }
}

function answerOf(id: string, { clientDataJSON, authenticatorData, signature }: Hex) {
  return {
    id,
    rawId: id,
    type: 'public-key',
    response: {
      clientDataJSON: b64(clientDataJSON!),
      authenticatorData: b64(authenticatorData!),
      signature: b64(signature!),
    },
    clientExtensionResults: {},
  }
}

await t.test(
  'each of the 15 pairs of WebAuthn Level 3, section 16, has its expected verdict',
  async (t) => {
    const published = readVectors<WebauthnVectors>(t, 'identity/webauthn-l3-vectors.json')
    if (published === null) return
    const { rpId, origin, topOrigin } = published
    const userVerification = 'required'
    const rpName = 'W3C'
    const origins = [origin]
    const site: RelyingParty = { rpId, rpName, origins, topOrigins: [], userVerification }
    const framed = { ...site, topOrigins: [topOrigin] }
    t.same(published.vectors.map(({ id }) => id).toSorted(), Object.keys(VERDICTS).toSorted())
    const flips = runs(200, 20_000)
    let mutated = 0
    let accepted = 0
    for (const { id, registration, authentication } of published.vectors) {
      const passkey = storedPasskey(registration)
      const answer = answerOf(passkey.id, authentication)
      const enrolled = (on: RelyingParty) =>
        verifyRegistration(on, b64(registration['challenge']!), registrationOf(registration), id, 1)
      const proved = (on: RelyingParty, given = answer) =>
        verifyAssertion(on, b64(authentication['challenge']!), given, passkey)
      const verified = [flagsOf(registration) & FLAGS.UV, flagsOf(authentication) & FLAGS.UV]
      const found = [
        verdictOf(verified[0]!, await enrolled(site), await enrolled(framed)),
        verdictOf(verified[1]!, await proved(site), await proved(framed)),
        await isAcceptedByLibrary(published, registration, passkey),
        await isAcceptedByLibrary(published, authentication, passkey),
      ]
      t.same(found, VERDICTS[id], id)
      if ((await proved(framed)) === null) continue
      for (let i = 0; i < flips; i++) {
        mutated++
        if ((await proved(framed, mutate(answer))) !== null) accepted++
      }
    }
    t.equal(mutated, 5 * flips)
    t.comment(`${mutated} mutations, ${accepted} accepted`)
    t.equal(accepted, 0, `of ${mutated} answers with one bit flipped`)
  },
)

function verdictOf(verified: number, strict: unknown, framed: unknown): Verdict {
  if (strict !== null) return 'accepted'
  if (framed !== null) return 'accepted where the site is allowed'
  return verified === 0 ? 'user not verified' : 'refused'
}

/** Whether the library alone accepts signature and attestation, without user verification. */
async function isAcceptedByLibrary(
  published: WebauthnVectors,
  ceremony: Hex,
  passkey: StoredPasskey,
) {
  const expected = {
    expectedChallenge: b64(ceremony['challenge']!),
    expectedOrigin: published.origin,
    expectedRPID: published.rpId,
    requireUserVerification: false,
  }
  const work =
    ceremony['signature'] === undefined
      ? verifyRegistrationResponse({
          ...expected,
          response: registrationOf(ceremony) as RegistrationResponseJSON,
          supportedAlgorithmIDs: [-8, -7, -35, -36, -53, -257],
        })
      : verifyAuthenticationResponse({
          ...expected,
          response: answerOf(passkey.id, ceremony) as AuthenticationResponseJSON,
          expectedTopOrigin: published.topOrigin,
          credential: {
            id: passkey.id,
            publicKey: Uint8Array.from(Buffer.from(passkey.publicKey, 'base64url')),
            counter: 0,
          },
        })
  return work.then(
    ({ verified }) => verified,
    () => false,
  )
}

/** The flags follow the hash of the relying party's id. */
function flagsOf({ attestationObject, authenticatorData }: Hex): number {
  const hex = authenticatorData ?? attestationObject!
  const at = hex.indexOf('bfabc37432958b06') + 64
  return Number.parseInt(hex.slice(at, at + 2), 16)
}

/** The passkey of a registration, even if its attestation is refused: the key is in its data. */
function storedPasskey(registration: Hex): StoredPasskey {
  const { attestationObject, credential_id } = registration
  const at = attestationObject!.indexOf(credential_id!) + credential_id!.length
  return {
    id: b64(credential_id!),
    publicKey: b64(attestationObject!.slice(at)),
    counter: 0,
    transports: [],
    name: '',
    createdAt: 0,
    lastUsedAt: 0,
    backedUp: false,
    backupEligible: (flagsOf(registration) & FLAGS.BE) !== 0,
  }
}

/** Flips one bit of the signed data or of the signature. */
function mutate(answer: ReturnType<typeof answerOf>): ReturnType<typeof answerOf> {
  const fields = ['clientDataJSON', 'authenticatorData', 'signature'] as const
  const field = fields[Math.floor(Math.random() * 3)]!
  const bytes = Buffer.from(answer.response[field], 'base64url')
  bytes[Math.floor(Math.random() * bytes.length)]! ^= 1 << Math.floor(Math.random() * 8)
  return { ...answer, response: { ...answer.response, [field]: bytes.toString('base64url') } }
}

await t.test(
  'an attestation format that was not requested is refused before it is verified',
  async (t) => {
    const site: RelyingParty = {
      rpId: RP_ID,
      rpName: 'x',
      origins: [ORIGIN],
      topOrigins: [],
      userVerification: 'required',
    }
    const device = new Authenticator()
    const challenge = Buffer.alloc(32).toString('base64url')
    const response = device.createAttested({ challenge })
    const expected = { expectedChallenge: challenge, expectedOrigin: ORIGIN, expectedRPID: RP_ID }
    t.match(await verifyRegistrationResponse({ ...expected, response }), { verified: true })
    t.equal(await verifyRegistration(site, challenge, response, 'Key', 1), null)
    t.ok(await verifyRegistration(site, challenge, device.create({ challenge }), 'Key', 1))
  },
)

await t.test('only strict DER is accepted as an ECDSA signature', async (t) => {
  const strict = [
    '3006020101020101',
    '30080202008002020080',
    `30818a0243${'01'.repeat(67)}0243${'01'.repeat(67)}`,
  ]
  for (const hex of strict)
    t.equal(isEcdsaSignature(Buffer.from(hex, 'hex')), true, hex.slice(0, 20))
  const lax = [
    '',
    '30',
    '3000',
    'b006020101020101',
    '3007020101020101',
    '300602010102010100',
    '3006020181020101',
    '30080202000102020001',
    '3006020001020101',
    '300602010102020101',
    '308106020101020101',
    '3006020100020101',
    '3003020101',
    '3008020101030101',
  ]
  for (const hex of lax) t.equal(isEcdsaSignature(Buffer.from(hex, 'hex')), false, hex)
})
