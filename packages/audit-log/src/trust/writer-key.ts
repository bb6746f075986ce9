/**
 * The key of the writers: it authenticates what passes through tables that others can write, such as
 * rows of the inbox and positions of sinks.
 */
import { createHmac, createSecretKey, hkdfSync, timingSafeEqual, type KeyObject } from 'node:crypto'

/** What a MAC of an inbox row covers. */
export interface WriterRow {
  readonly writer: string
  readonly seq: number | null
  readonly leaf: string
  readonly attachments: string | null
}

const KEY_BYTES = 32
/** 32 bytes in base64url. */
const MAC_LENGTH = 43

/** Derives the writers' key from an Ed25519 private key, so that one file is enough. @see RFC 5869 */
export function deriveWriterSecret(privateKey: KeyObject): KeyObject {
  const { d = '' } = privateKey.export({ format: 'jwk' })
  const seed = Buffer.from(d, 'base64url')
  return createSecretKey(
    Buffer.from(hkdfSync('sha256', seed, '', 'parapet-audit-log/writer', KEY_BYTES)),
  )
}

/** Makes and checks the MACs of one log. */
export class WriterKey {
  readonly #origin: string
  /** The first makes MACs, all are accepted. */
  readonly #secrets: readonly KeyObject[]

  constructor(origin: string, secrets: readonly KeyObject[]) {
    this.#origin = origin
    this.#secrets = secrets
  }

  macOfRow(row: WriterRow): string {
    return this.macOf('inbox', textOfRow(row))
  }

  isRow(row: WriterRow, mac: string | null): boolean {
    return this.isMac('inbox', textOfRow(row), mac)
  }

  /** @param purpose separates MACs for different uses. */
  macOf(purpose: string, text: string): string {
    return this.#mac(this.#secrets[0]!, purpose, text)
  }

  isMac(purpose: string, text: string, mac: string | null): boolean {
    if (mac?.length !== MAC_LENGTH) return false
    const given = Buffer.from(mac)
    return this.#secrets.some((secret) => {
      const expected = Buffer.from(this.#mac(secret, purpose, text))
      return given.length === expected.length && timingSafeEqual(given, expected)
    })
  }

  #mac(secret: KeyObject, purpose: string, text: string): string {
    return createHmac('sha256', secret)
      .update(`parapet-audit-log/${purpose}\n${this.#origin}\n${text}`)
      .digest('base64url')
  }
}

/** The lengths make the text unambiguous. */
function textOfRow({ writer, seq, leaf, attachments }: WriterRow): string {
  const beside = attachments ?? ''
  return `${writer}\n${seq ?? 'tx'}\n${leaf.length}\n${beside.length}\n${leaf}${beside}`
}
