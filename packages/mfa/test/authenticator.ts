/** An authenticator in software: what a browser and a security key would answer. */
import { createHash, generateKeyPairSync, randomBytes, sign, type KeyObject } from 'node:crypto'

interface Ceremony {
  readonly challenge: string
  readonly origin?: string
  readonly crossOrigin?: boolean
  readonly topOrigin?: string
  readonly type?: string
}

interface Answer extends Ceremony {
  readonly counter?: number
  /** Bits of the flags; user present and verified unless told. */
  readonly flags?: number
  readonly userHandle?: string | null
  readonly rpId?: string
}

const UP = 0x01
const UV = 0x04
const AT = 0x40
export const ORIGIN = 'https://example.org'
export const RP_ID = 'example.org'
export const FLAGS = { UP, UV, BE: 0x08, BS: 0x10 } as const

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
    const length = Buffer.alloc(2)
    length.writeUInt16BE(id.length)
    const credential = Buffer.concat([Buffer.alloc(16), length, id, this.#cose])
    const authData = Buffer.concat([headOf(rpId, flags | AT, counter), credential])
    const size = Buffer.from([0x59, authData.length >> 8, authData.length & 0xff])
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

  get({ flags = UP | UV, counter = 0, rpId = RP_ID, userHandle, ...ceremony }: Answer) {
    const authData = headOf(rpId, flags, counter)
    const clientDataJSON = clientDataOf({ type: 'webauthn.get', ...ceremony })
    const hash = createHash('sha256').update(Buffer.from(clientDataJSON, 'base64url')).digest()
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

function headOf(rpId: string, flags: number, counter: number): Buffer {
  const head = Buffer.alloc(37)
  createHash('sha256').update(rpId).digest().copy(head)
  head[32] = flags
  head.writeUInt32BE(counter, 33)
  return head
}

function clientDataOf({ origin = ORIGIN, crossOrigin = false, ...rest }: Ceremony): string {
  return Buffer.from(JSON.stringify({ ...rest, origin, crossOrigin })).toString('base64url')
}
