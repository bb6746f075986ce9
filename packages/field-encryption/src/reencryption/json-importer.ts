/** Reads values that another library has encrypted, for `reencrypt({ importer })`. */
import { createDecipheriv, scrypt } from 'node:crypto'
import { promisify } from 'node:util'
import { PARAPET_FIELD_ENCRYPTION_OPEN_FAILED } from '../errors.ts'

/** Reads values of one other format. */
export interface Importer {
  /** Whether a stored text has the format. It may still fail to open. */
  recognises(text: string): boolean
  /** Returns the plaintext. @throws PARAPET_FIELD_ENCRYPTION_OPEN_FAILED */
  open(text: string): Promise<string>
}

/** The options of {@link createJsonImporter}. */
export interface JsonImporterOptions {
  /** The passphrase that the key of each value is derived from. */
  readonly passphrase: string
  /** How the bytes are written. @default 'hex' */
  readonly encoding?: 'hex' | 'base64'
  /** The cost `N` of scrypt. @default 16384, the default of Node */
  readonly cost?: number
  /** The associated data. @default none */
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
const MIN_IV_BYTES = 12
/** scrypt needs 128 · cost · 8 bytes; without a higher limit Node allows 32 MiB. */
const MEMORY_PER_COST = 2048
const deriveKey = promisify<string, Buffer, number, object, Buffer>(scrypt)

/**
 * Creates an importer of JSON values `{ encrypted, authTag, iv, salt }`: AES-256-GCM under a key that
 * scrypt derives for each value. scrypt makes it slow; `reencrypt` opens each value once.
 */
export function createJsonImporter(options: JsonImporterOptions): Importer {
  const { passphrase, encoding = 'hex', cost = 16_384, associatedData } = options
  return {
    recognises: (text) => parseForm(text, encoding) !== undefined,
    async open(text) {
      const form = parseForm(text, encoding)
      if (form === undefined) throw new PARAPET_FIELD_ENCRYPTION_OPEN_FAILED()
      const limits = { N: cost, maxmem: MEMORY_PER_COST * cost }
      const key = await deriveKey(passphrase, form.salt, KEY_BYTES, limits)
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

function parseForm(text: string, encoding: 'hex' | 'base64'): JsonForm | undefined {
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
  const { authTag, iv, salt } = form
  const fits = authTag.length === TAG_BYTES && iv.length >= MIN_IV_BYTES && salt.length > 0
  return fits ? form : undefined
}
