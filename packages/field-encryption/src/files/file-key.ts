/** The start of an encrypted file: a magic number and the file's own key, wrapped by a keyset. */
import { createSecretKey, type KeyObject } from 'node:crypto'
import { encodeContext, keyIdOf, SEALED_OVERHEAD_BYTES, takeRandom } from '@parapet/kit'
import { callOption, checkCall } from '../call-options.ts'
import type { Aead } from '../crypto/aead.ts'
import type { KeyRing, KeySource } from '../key-ring/key-ring.ts'
import {
  PARAPET_FIELD_ENCRYPTION_FORGOTTEN,
  PARAPET_FIELD_ENCRYPTION_OPEN_FAILED,
} from '../errors.ts'

/** The owner of a file. */
export interface FileScope {
  /** @default '' */
  readonly tenant?: string
  /** The subject whose own keys wrap the file's key. @default the tenant's keys wrap it */
  readonly subject?: string
}

const fileScopeTable = { tenant: callOption.name, subject: callOption.text }
const MAGIC = Buffer.from('PEF1')
const FILE_KEY_BYTES = 32
/** The length of the prefix before Tink's stream. */
export const PREFIX_BYTES = MAGIC.length + SEALED_OVERHEAD_BYTES + FILE_KEY_BYTES

/** Creates, wraps and unwraps the keys of files. */
export class FileKeys {
  readonly #keys: KeySource

  constructor(keys: KeySource) {
    this.#keys = keys
  }

  /** Creates a file key. @returns the key and the prefix of the file */
  async create(scope: FileScope, context: Buffer): Promise<{ key: KeyObject; prefix: Buffer }> {
    const { aead } = await this.#findRing(scope, true)
    const bytes = takeRandom(FILE_KEY_BYTES)
    const key = createSecretKey(bytes)
    const prefix = createPrefix(aead, bytes, context)
    bytes.fill(0)
    return { key, prefix }
  }

  /** Reads the key from a file's prefix. @throws PARAPET_FIELD_ENCRYPTION_OPEN_FAILED */
  async unwrap(prefix: Buffer, scope: FileScope, context: Buffer): Promise<KeyObject> {
    const bytes = await this.#openKey(prefix, scope, context)
    const key = createSecretKey(bytes)
    bytes.fill(0)
    return key
  }

  /**
   * Wraps the key by the current primary key.
   *
   * @returns the new prefix; `undefined` if the primary key wraps it already.
   * @throws PARAPET_FIELD_ENCRYPTION_OPEN_FAILED
   */
  async rewrap(prefix: Buffer, scope: FileScope, context: Buffer): Promise<Buffer | undefined> {
    const bytes = await this.#openKey(prefix, scope, context)
    const { aead } = await this.#findRing(scope, false)
    const isCurrent = keyIdOf(prefix.subarray(MAGIC.length)) === aead.keyset.primaryKeyId
    const next = isCurrent ? undefined : createPrefix(aead, bytes, context)
    bytes.fill(0)
    return next
  }

  async #openKey(prefix: Buffer, scope: FileScope, context: Buffer): Promise<Buffer> {
    if (prefix.length !== PREFIX_BYTES || !prefix.subarray(0, MAGIC.length).equals(MAGIC)) {
      throw new PARAPET_FIELD_ENCRYPTION_OPEN_FAILED()
    }
    const wrapped = prefix.subarray(MAGIC.length)
    let { aead } = await this.#findRing(scope, false)
    if (!aead.hasKey(keyIdOf(wrapped))) {
      // Another instance may have just created the key.
      const { tenant = '', subject = null } = scope
      this.#keys.refresh({ tenant, subject }, keyIdOf(wrapped))
      aead = (await this.#findRing(scope, false)).aead
    }
    return aead.open(wrapped, context)
  }

  async #findRing({ tenant = '', subject }: FileScope, create: boolean): Promise<KeyRing> {
    const scope = { tenant, subject: subject ?? null }
    const [ring] = await this.#keys.find([scope], create)
    if (ring === 'forgotten') throw new PARAPET_FIELD_ENCRYPTION_FORGOTTEN()
    if (!ring) throw new PARAPET_FIELD_ENCRYPTION_OPEN_FAILED()
    return ring
  }
}

function createPrefix(aead: Aead, bytes: Buffer, context: Buffer): Buffer {
  return Buffer.concat([MAGIC, aead.seal(bytes, context)])
}

/**
 * The associated data that binds a file to its name and tenant.
 *
 * @throws PARAPET_FIELD_ENCRYPTION_INVALID_ARGUMENT the scope is invalid.
 */
export function fileContext(name: string, scope: FileScope): Buffer {
  checkCall<FileScope>('a file', scope, fileScopeTable)
  const { tenant = '' } = scope
  return encodeContext(['fe-file1', tenant, name])
}
