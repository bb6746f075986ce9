/** Assembles `app.fieldEncryption`. It does not depend on Fastify. */
import type { Cipher, SecurityEvents } from '@parapet/kit'
import type { TObject } from '@sinclair/typebox'
import { createAeadCipher } from './crypto/keyset-cipher.ts'
import {
  PARAPET_FIELD_ENCRYPTION_FORGOTTEN,
  PARAPET_FIELD_ENCRYPTION_KEY_UNAVAILABLE,
  PARAPET_FIELD_ENCRYPTION_OPEN_FAILED,
  PARAPET_FIELD_ENCRYPTION_PLAINTEXT_FOUND,
} from './errors.ts'
import type { FileStore } from './files/file-store.ts'
import { createFiles, type Files } from './files/files.ts'
import type { KeyAdmin } from './key-admin/key-admin.ts'
import { createKeyService, type KeyService, type KeyServicePorts } from './key-service.ts'
import type { KeyProviderDescription } from './providers/provider.ts'
import { createTable, type TablePorts } from './table/encrypted-table.ts'
import { requireRing } from './table/row-places.ts'
import { createDecryptionSampler } from './table/sample-decryptions.ts'
import type { Table, TableOptions } from './table/table.ts'

/** The decorator `app.fieldEncryption`. */
export interface FieldEncryption extends KeyAdmin {
  /**
   * Declares a table. Call it once for each table, at boot.
   *
   * @param name every value is bound to it, so it must never change. It need not be the name in SQL.
   * @throws PARAPET_FIELD_ENCRYPTION_INVALID_SCHEMA, PARAPET_FIELD_ENCRYPTION_INVALID_ARGUMENT
   */
  table<T extends TObject>(name: string, schema: T, options?: TableOptions): Table<T>
  /** Encrypts files in a store, under the same keys. */
  files(store: FileStore): Files
  /** Kit's `Cipher` under the keys of a tenant, for the plugins that take one. */
  cipher(tenant?: string): Cipher
  /** The provider that holds the root key; `null` with a fixed keyset. */
  readonly provider: KeyProviderDescription | null
  /** Resolves if the provider can answer now; rejects otherwise. */
  health(): Promise<void>
}

/** The service, and its start and end. */
export interface FieldEncryptionService {
  readonly service: FieldEncryption
  /** Subscribes to the key changes of the other instances. */
  readonly start: () => Promise<void>
  readonly close: () => Promise<void>
}

/** Failures that may be an attack. Invalid calls and unavailable keys are reported elsewhere. */
const DENIALS = [
  PARAPET_FIELD_ENCRYPTION_FORGOTTEN,
  PARAPET_FIELD_ENCRYPTION_OPEN_FAILED,
  PARAPET_FIELD_ENCRYPTION_PLAINTEXT_FOUND,
]

/** Creates the service. */
export function createService(ports: KeyServicePorts): FieldEncryptionService {
  const keyService = createKeyService(ports)
  return {
    service: assembleService(ports, keyService),
    start: keyService.start,
    close: keyService.close,
  }
}

function assembleService(
  { settings, events }: KeyServicePorts,
  { keys, admin, hasSubjects, isSettled }: KeyService,
): FieldEncryption {
  const reports = createReports(events, settings.decryptedEventRatio)
  return {
    rotate: (target) => replaceForeignErrors(admin.rotate(target)),
    retire: (keyId, target) => replaceForeignErrors(admin.retire(keyId, target)),
    forget: (request) => replaceForeignErrors(admin.forget(request)),
    hold: (request) => replaceForeignErrors(admin.hold(request)),
    release: (target) => replaceForeignErrors(admin.release(target)),
    keyStatus: (target) => replaceForeignErrors(admin.keyStatus(target)),
    provider: settings.provider?.describe() ?? null,
    health: async () => settings.provider?.health(),
    files: (store) => createFiles(store, keys),
    cipher: (tenant = '') =>
      createAeadCipher(async () => {
        const [ring] = await keys.find([{ tenant, subject: null }], true)
        return requireRing(ring).aead
      }),
    table: (name, schema, options = {}) =>
      createTable(name, schema, options, { keys, hasSubjects, isSettled, ...reports }),
  }
}

/** Reports decryptions and failed decryptions as security events. */
function createReports(
  events: SecurityEvents,
  decryptedEventRatio: number,
): Pick<TablePorts, 'onDecrypted' | 'onDenied'> {
  const sample = createDecryptionSampler(decryptedEventRatio)
  return {
    onDecrypted(table, counts) {
      for (const [column, count] of counts) {
        const due = sample(`${table}.${column}`, count)
        if (due === 0) continue
        events.emit('field_encryption.decrypted', { details: { table, column, count: due } })
      }
    },
    onDenied(table, error) {
      if (!DENIALS.some((each) => error instanceof each)) return
      const { code } = error as { readonly code: string }
      events.emit('field_encryption.denied', { details: { table, code } })
    },
  }
}

/** Errors of the key store and the provider become the cause of a 503: their messages may have internals. */
async function replaceForeignErrors<T>(work: Promise<T>): Promise<T> {
  try {
    return await work
  } catch (error) {
    const { code } = error as { readonly code?: unknown }
    if (typeof code === 'string' && code.startsWith('PARAPET_')) throw error
    throw Object.assign(new PARAPET_FIELD_ENCRYPTION_KEY_UNAVAILABLE(), { cause: error })
  }
}
