/**
 * Encrypts a private key as PEM. Node's own export uses 2048 rounds of PBKDF2, which is far too few
 * against guessing; the same format allows more.
 *
 * @see RFC 8018, section 6.2 (PBES2); OWASP Password Storage Cheat Sheet, PBKDF2
 */
import { createCipheriv, pbkdf2Sync } from 'node:crypto'
import { takeRandom } from '@parapet/kit'

const ROUNDS = 600_000
const KEY_BYTES = 32

/** Object identifiers in DER. */
const OID = {
  pbes2: '06092a864886f70d01050d',
  pbkdf2: '06092a864886f70d01050c',
  hmacWithSha256: '06082a864886f70d0209',
  aes256Cbc: '060960864801650304012a',
}
const NULL = Buffer.from('0500', 'hex')

/** @param pkcs8 the private key in DER. */
export function encryptPem(pkcs8: Buffer, passphrase: string): string {
  const [salt, iv] = [takeRandom(16), takeRandom(16)]
  const key = pbkdf2Sync(passphrase, salt, ROUNDS, KEY_BYTES, 'sha256')
  const cipher = createCipheriv('aes-256-cbc', key, iv)
  const encrypted = Buffer.concat([cipher.update(pkcs8), cipher.final()])
  const derivation = sequence(
    oid('pbkdf2'),
    sequence(octets(salt), integer(ROUNDS), sequence(oid('hmacWithSha256'), NULL)),
  )
  const scheme = sequence(oid('aes256Cbc'), octets(iv))
  const info = sequence(sequence(oid('pbes2'), sequence(derivation, scheme)), octets(encrypted))
  const lines = info.toString('base64').match(/.{1,64}/g) ?? []
  const label = 'ENCRYPTED PRIVATE KEY'
  return [`-----BEGIN ${label}-----`, ...lines, `-----END ${label}-----`, ''].join('\n')
}

function oid(name: keyof typeof OID): Buffer {
  return Buffer.from(OID[name], 'hex')
}

function integer(value: number): Buffer {
  const hex = value.toString(16)
  const bytes = Buffer.from(hex.length % 2 === 0 ? hex : `0${hex}`, 'hex')
  // A set first bit would make it negative.
  return element(0x02, bytes[0]! >= 0x80 ? Buffer.concat([Buffer.alloc(1), bytes]) : bytes)
}

function octets(bytes: Buffer): Buffer {
  return element(0x04, bytes)
}

function sequence(...parts: Buffer[]): Buffer {
  return element(0x30, Buffer.concat(parts))
}

/** @see ITU-T X.690, section 8.1.3 */
function element(tag: number, content: Buffer): Buffer {
  const { length } = content
  const long = length < 0x100 ? [0x81, length] : [0x82, length >> 8, length & 0xff]
  return Buffer.concat([Buffer.from([tag, ...(length < 0x80 ? [length] : long)]), content])
}
