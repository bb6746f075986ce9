/** A software authenticator: creates the responses of a browser with a security key. */
import {
  createHash,
  createPrivateKey,
  generateKeyPairSync,
  randomBytes,
  sign,
  type KeyObject,
} from 'node:crypto'

interface Ceremony {
  readonly challenge: string
  readonly origin?: string
  readonly crossOrigin?: boolean
  readonly topOrigin?: string
  readonly type?: string
}

interface Answer extends Ceremony {
  readonly counter?: number
  /** Bits of the flags. @default user present and verified */
  readonly flags?: number
  readonly userHandle?: string | null
  readonly rpId?: string
}

const UP = 0x01
const UV = 0x04
const AT = 0x40
export const ORIGIN = 'https://example.org'
export const RP_ID = 'example.org'
/** The option `passkeys` of the tests. */
export const RELYING_PARTY = { rpId: RP_ID, origins: [ORIGIN] }
export const FLAGS = { UP, UV, BE: 0x08, BS: 0x10 } as const

/** A self-signed certificate for this test, valid until 2126. */
const ATTESTATION_CERTIFICATE = Buffer.from(
  'MIIBdDCCARugAwIBAgIUAMw5QNsKDbB93vwun1CUybGowvQwCgYIKoZIzj0EAwIwDzENMAsGA1UEAwwEdGVzdDAgFw0y' +
    'NjExMjIwMDQ3NThaGA8yMTI2MTAyOTAwNDc1OFowDzENMAsGA1UEAwwEdGVzdDBZMBMGByqGSM49AgEGCCqGSM49AwEH' +
    'A0IABCmlWv3VPPP4Ik4p17MOAKCjvD/4wgI/frQD+Yr08RXNgYA8nIN6rt6vU0iE7h6ml7PeGi5R+UxaC91rNB2mDYuj' +
    'UzBRMB0GA1UdDgQWBBRSrtbrkFIrwsXk9ZYUz5nhGil/6zAfBgNVHSMEGDAWgBRSrtbrkFIrwsXk9ZYUz5nhGil/6zAP' +
    'BgNVHRMBAf8EBTADAQH/MAoGCCqGSM49BAMCA0cAMEQCIA2Z8+x0q7JJM+8Sz/dW84p3QRQcDCLjqq4UD8hFkweUAiAf' +
    'E8uqjhgDyxJtshm6QBSbqiKd/LqWE+gnyaZYxXRVrA==',
  'base64',
)
const ATTESTATION_KEY = createPrivateKey({
  key: Buffer.from(
    'MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgxZDNvnp8WVpv6qduYrA1YytJgImtEI6heMJoGJNjVzyh' +
      'RANCAAQppVr91Tzz+CJOKdezDgCgo7w/+MICP360A/mK9PEVzYGAPJyDeq7er1NIhO4eppez3houUflMWgvdazQdpg2L',
    'base64',
  ),
  format: 'der',
  type: 'pkcs8',
})

/** One credential on one device. */
export class Authenticator {
  readonly id: string
  readonly #privateKey: KeyObject
  readonly #cose: Buffer
  userHandle = ''

  constructor(id = randomBytes(32).toString('base64url')) {
    const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
    const { x, y } = publicKey.export({ format: 'jwk' })
    this.id = id
    this.#privateKey = privateKey
    // {1: 2, 3: -7, -1: 1, -2: x, -3: y}
    this.#cose = Buffer.concat([
      Buffer.from('a5010203262001215820', 'hex'),
      Buffer.from(x!, 'base64url'),
      Buffer.from('225820', 'hex'),
      Buffer.from(y!, 'base64url'),
    ])
  }

  create({ flags = UP | UV, counter = 0, rpId = RP_ID, ...ceremony }: Answer) {
    const id = Buffer.from(this.id, 'base64url')
    const credential = Buffer.concat([Buffer.alloc(16), lengthOf(id), id, this.#cose])
    const authData = Buffer.concat([headOf(rpId, flags | AT, counter), credential])
    const size = Buffer.concat([Buffer.of(0x59), lengthOf(authData)])
    const attestationObject = Buffer.concat([
      // {"fmt": "none", "attStmt": {}, "authData": …}
      Buffer.from('a363666d74646e6f6e656761747453746d74a0686175746844617461', 'hex'),
      size,
      authData,
    ])
    const response = {
      clientDataJSON: clientDataOf({ type: 'webauthn.create', ...ceremony }),
      attestationObject: attestationObject.toString('base64url'),
      transports: ['internal'],
    }
    return this.#wrap(response)
  }

  /** The response of a U2F key that sends an attestation although none was requested. */
  createAttested(ceremony: Ceremony) {
    const made = this.create(ceremony)
    const id = Buffer.from(this.id, 'base64url')
    const point = Buffer.concat([
      Buffer.of(4),
      this.#cose.subarray(10, 42),
      this.#cose.subarray(45),
    ])
    const clientData = Buffer.from(made.response.clientDataJSON, 'base64url')
    const signed = [Buffer.of(0), sha256(RP_ID), sha256(clientData), id, point]
    const sig = sign('sha256', Buffer.concat(signed), ATTESTATION_KEY)
    const authData = Buffer.from(made.response.attestationObject, 'base64url').subarray(28)
    const attestationObject = Buffer.concat([
      // {"fmt": "fido-u2f", "attStmt": {"sig": …, "x5c": […]}, "authData": …}
      Buffer.from('a363666d74686669646f2d7532666761747453746d74a26373696758', 'hex'),
      Buffer.of(sig.length),
      sig,
      Buffer.from('637835638159', 'hex'),
      lengthOf(ATTESTATION_CERTIFICATE),
      ATTESTATION_CERTIFICATE,
      Buffer.from('686175746844617461', 'hex'),
      authData,
    ])
    const response = {
      ...made.response,
      attestationObject: attestationObject.toString('base64url'),
    }
    return { ...made, response }
  }

  get({ flags = UP | UV, counter = 0, rpId = RP_ID, userHandle, ...ceremony }: Answer) {
    const authData = headOf(rpId, flags, counter)
    const clientDataJSON = clientDataOf({ type: 'webauthn.get', ...ceremony })
    const hash = sha256(Buffer.from(clientDataJSON, 'base64url'))
    const handle = userHandle === undefined ? this.userHandle : userHandle
    return this.#wrap({
      clientDataJSON,
      authenticatorData: authData.toString('base64url'),
      signature: sign('sha256', Buffer.concat([authData, hash]), this.#privateKey).toString(
        'base64url',
      ),
      ...(handle === null || handle === '' ? undefined : { userHandle: handle }),
    })
  }

  #wrap<T>(response: T) {
    return {
      id: this.id,
      rawId: this.id,
      type: 'public-key' as const,
      response,
      clientExtensionResults: {},
    }
  }
}

function sha256(data: string | Buffer): Buffer {
  return createHash('sha256').update(data).digest()
}

function lengthOf(bytes: Buffer): Buffer {
  return Buffer.of(bytes.length >> 8, bytes.length & 0xff)
}

function headOf(rpId: string, flags: number, counter: number): Buffer {
  const head = Buffer.alloc(37)
  sha256(rpId).copy(head)
  head[32] = flags
  head.writeUInt32BE(counter, 33)
  return head
}

function clientDataOf({ origin = ORIGIN, crossOrigin = false, ...rest }: Ceremony): string {
  return Buffer.from(JSON.stringify({ ...rest, origin, crossOrigin })).toString('base64url')
}
