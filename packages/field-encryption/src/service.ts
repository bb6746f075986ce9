/** Assembles `app.fieldEncryption`. It does not depend on Fastify. */
import { withDeadline, type Cipher } from '@parapet/kit'
import { createAeadCipher } from './crypto/keyset-cipher.ts'
import { PARAPET_FIELD_ENCRYPTION_KEY_UNAVAILABLE } from './errors.ts'
import type { FileStore } from './files/file-store.ts'
import { createFiles, type Files } from './files/files.ts'
import type { KeyAdmin } from './key-admin/key-admin.ts'
import { createKeyService, type KeyService, type KeyServicePorts } from './key-service.ts'
import type { FieldEncryptionSettings } from './options.ts'
import type { KeyProvider, KeyProviderDescription } from './providers/provider.ts'
import { createDecryptionReports, type DecryptionReports } from './reports/decryption-reports.ts'
import { createTable } from './table/encrypted-table.ts'
import { requireRing } from './rows/row-places.ts'
import type { TableOptions } from './rows/table-options.ts'
import type { ObjectSchema } from './schema/schema-types.ts'
import type { Table } from './table/table.ts'

/** The decorator `app.fieldEncryption`. */
export interface FieldEncryption extends KeyAdmin {
  /**
   * Declares a table. Call it once for each table, at boot.
   *
   * @param name every value is bound to it, so it must never change. It need not be the name in SQL.
   * @throws PARAPET_FIELD_ENCRYPTION_INVALID_SCHEMA, PARAPET_FIELD_ENCRYPTION_INVALID_ARGUMENT
   */
  table<T extends ObjectSchema>(name: string, schema: T, options?: TableOptions): Table<T>
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
  readonly reports: DecryptionReports
  /** Whether a table has been declared. */
  readonly hasTables: () => boolean
  /** Subscribes to the key changes of the other instances. */
  readonly start: () => Promise<void>
  readonly close: () => Promise<void>
}

/** Creates the service. */
export function createService(ports: KeyServicePorts): FieldEncryptionService {
  const { settings, events } = ports
  const keyService = createKeyService(ports)
  const { clock, decryptedEventRatio: ratio } = settings
  const reports = createDecryptionReports({ events, clock, ratio })
  const tables = { count: 0 }
  return {
    service: assembleService(ports, keyService, reports, tables),
    reports,
    hasTables: () => tables.count > 0,
    start: keyService.start,
    close() {
      reports.close()
      return keyService.close()
    },
  }
}

function assembleService(
  { settings }: KeyServicePorts,
  { keys, admin, hasSubjects, isSettled }: KeyService,
  reports: DecryptionReports,
  tables: { count: number },
): FieldEncryption {
  const { provider } = settings
  return {
    rotate: (target) => replaceForeignErrors(admin.rotate(target)),
    retire: (keyId, target) => replaceForeignErrors(admin.retire(keyId, target)),
    forget: (request) => replaceForeignErrors(admin.forget(request)),
    hold: (request) => replaceForeignErrors(admin.hold(request)),
    release: (target) => replaceForeignErrors(admin.release(target)),
    keyStatus: (target) => replaceForeignErrors(admin.keyStatus(target)),
    provider: provider?.describe() ?? null,
    health: async () => provider && checkHealth(provider, settings),
    files: (store) => createFiles(store, keys),
    cipher: (tenant = '') =>
      createAeadCipher(async () => {
        const [ring] = await keys.find([{ tenant, subject: null }], true)
        return requireRing(ring).aead
      }),
    table(name, schema, options = {}) {
      tables.count++
      return createTable(name, schema, options, {
        keys,
        hasSubjects,
        isSettled,
        reports,
        clock: settings.clock,
      })
    },
  }
}

/** A provider that never answers must not keep a readiness check waiting. */
function checkHealth(provider: KeyProvider, { deadlineMs, clock }: FieldEncryptionSettings) {
  const late = () =>
    Object.assign(new PARAPET_FIELD_ENCRYPTION_KEY_UNAVAILABLE(), {
      cause: new Error(`The provider gave no answer in ${deadlineMs} ms`),
    })
  return withDeadline(provider.health(), deadlineMs, late, clock)
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
