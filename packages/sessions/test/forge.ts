/** Creates tokens of any form, with or without the key of the service. */
import { createHmac, createPrivateKey, sign } from 'node:crypto'
import { takeRandom } from '@parapet/kit'
import type { KeyInput } from '@parapet/sessions'
import { audience, issuer } from './build.ts'

export type Json = Readonly<Record<string, unknown>>

export function segment(value: unknown): string {
  const bytes = Buffer.isBuffer(value)
    ? value
    : Buffer.from(typeof value === 'string' ? value : JSON.stringify(value))
  return bytes.toString('base64url')
}

export function randomName(): string {
  return takeRandom(16).toString('base64url')
}

/** The claims of a valid token at `now`. */
export function claimsAt(now: number): Json {
  const iat = Math.floor(now / 1000)
  return {
    iss: issuer,
    aud: audience,
    sub: 'user-1',
    sid: randomName(),
    jti: randomName(),
    iat,
    exp: iat + 900,
    auth_time: iat,
    amr: ['pwd'],
    roles: ['reader'],
    // Newer than the epoch in which the fleet of a test starts.
    epochs: [0, 9e15],
  }
}

/** Signs as the service does: ES256 or EdDSA, depending on the key. */
export function signWith({ pem, passphrase }: KeyInput, input: string): string {
  const key = createPrivateKey({ key: pem, passphrase })
  const digest = key.asymmetricKeyType === 'ed25519' ? null : 'sha256'
  return sign(digest, Buffer.from(input), { key, dsaEncoding: 'ieee-p1363' }).toString('base64url')
}

/** A token with this header and payload, signed with the key. */
export function mint(key: KeyInput, header: unknown, payload: unknown): string {
  const input = `${segment(header)}.${segment(payload)}`
  return `${input}.${signWith(key, input)}`
}

/** A token whose signature is an HMAC. */
export function mintHmac(secret: string, header: unknown, payload: unknown): string {
  const input = `${segment(header)}.${segment(payload)}`
  return `${input}.${createHmac('sha256', secret).update(input).digest('base64url')}`
}

/** A non-canonical encoding of the same bytes: an unused bit of the last character is set. */
export function respell(text: string): string {
  const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'
  const last = alphabet.indexOf(text.at(-1)!)
  return text.slice(0, -1) + alphabet[last + 1]!
}
