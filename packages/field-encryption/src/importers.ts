/** Readers of formats that others wrote, for `reencrypt({ importer })`. They only read. */
import { createDecipheriv, scrypt } from 'node:crypto'
import { promisify } from 'node:util'
import { PARAPET_FIELD_ENCRYPTION_OPEN_FAILED } from './errors.ts'

/** Reads one foreign format. */
export interface Importer {
  /** Whether a stored text has the format; it may still not open. */
  recognises(text: string): boolean
  /** The plaintext. @throws PARAPET_FIELD_ENCRYPTION_OPEN_FAILED */
  open(text: string): Promise<string>
}

/** What {@link createJsonImporter} takes. */
export interface JsonImporterOptions {
  /** What each value's key was derived from. */
  readonly passphrase: string
  /** How bytes are written. @default 'hex' */
  readonly encoding?: 'hex' | 'base64'
  /** scrypt's cost, as it was. @default 16384, Node's own */
  readonly cost?: number
  /** Associated data, where there was any. @default none */
  readonly associatedData?: string
}

interface JsonForm {
  readonly encrypted: Buffer
  readonly authTag: Buffer
  readonly iv: Buffer
  readonly salt: Buffer
}

const MEMBERS = ['encrypted', 'authTag', 'iv', 'salt'] as const
const TAG_BYTES = 16
const KEY_BYTES = 32
/** scrypt needs 128 · cost · 8 bytes, and Node allows 32 MiB unless told more. */
const SCRYPT_MEMORY = 2048
const derive = promisify<string, Buffer, number, object, Buffer>(scrypt)

/**
 * Reads the JSON `{ encrypted, authTag, iv, salt }`: AES-256-GCM under a key that scrypt derives for
 * each value. It is slow by design; `reencrypt` needs it once for each value.
 */
export function createJsonImporter(options: JsonImporterOptions): Importer {
  const { passphrase, encoding = 'hex', cost = 16_384, associatedData } = options
  return {
    recognises: (text) => parse(text, encoding) !== undefined,
    async open(text) {
      const form = parse(text, encoding)
      if (form === undefined) throw new PARAPET_FIELD_ENCRYPTION_OPEN_FAILED()
      const memory = { N: cost, maxmem: SCRYPT_MEMORY * cost }
      const key = await derive(passphrase, form.salt, KEY_BYTES, memory)
      try {
        const decipher = createDecipheriv('aes-256-gcm', key, form.iv, { authTagLength: TAG_BYTES })
        decipher.setAuthTag(form.authTag)
        if (associatedData !== undefined) decipher.setAAD(Buffer.from(associatedData))
        return Buffer.concat([decipher.update(form.encrypted), decipher.final()]).toString('utf8')
      } catch {
        throw new PARAPET_FIELD_ENCRYPTION_OPEN_FAILED()
      } finally {
        key.fill(0)
      }
    },
  }
}

function parse(text: string, encoding: 'hex' | 'base64'): JsonForm | undefined {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    return undefined
  }
  if (typeof value !== 'object' || value === null) return undefined
  const bytes: Partial<Record<(typeof MEMBERS)[number], Buffer>> = {}
  for (const member of MEMBERS) {
    const written = (value as Record<string, unknown>)[member]
    if (typeof written !== 'string') return undefined
    bytes[member] = Buffer.from(written, encoding)
    if (bytes[member].toString(encoding) !== written.toLowerCase() && encoding === 'hex') {
      return undefined
    }
  }
  const form = bytes as JsonForm
  const fits = form.authTag.length === TAG_BYTES && form.iv.length >= 12 && form.salt.length > 0
  return fits ? form : undefined
}
