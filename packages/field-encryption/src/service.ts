/** Assembles `app.fieldEncryption`. It does not depend on Fastify. */
import { replaceForeignErrors, withDeadline, type Cipher } from '@parapet/kit'
import { callOption, checkCall } from './call-options.ts'
import { createAeadCipher } from './crypto/keyset-cipher.ts'
import {
  PARAPET_FIELD_ENCRYPTION_INVALID_ARGUMENT,
  PARAPET_FIELD_ENCRYPTION_KEY_UNAVAILABLE,
} from './errors.ts'
import type { FileStore } from './files/file-store.ts'
import { createFiles, type Files } from './files/files.ts'
import type { KeyAdmin } from './key-admin/key-admin.ts'
import { createKeyService, type KeyService, type KeyServicePorts } from './key-service.ts'
import type { FieldEncryptionSettings } from './options.ts'
import type { KeyProviderDescription } from './providers/provider.ts'
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
  /**
   * Resolves if the provider and the key store answer now, and the provider unwraps stored keys.
   *
   * @throws PARAPET_FIELD_ENCRYPTION_KEY_UNAVAILABLE
   */
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
  { keys, admin, hasSubjects, isSettled, check }: KeyService,
  reports: DecryptionReports,
  tables: { count: number },
): FieldEncryption {
  const { provider } = settings
  return {
    rotate: (target) => orUnavailable(admin.rotate(target)),
    retire: (keyId, target) => orUnavailable(admin.retire(keyId, target)),
    forget: (request) => orUnavailable(admin.forget(request)),
    hold: (request) => orUnavailable(admin.hold(request)),
    release: (target) => orUnavailable(admin.release(target)),
    keyStatus: (target) => orUnavailable(admin.keyStatus(target)),
    provider: provider?.describe() ?? null,
    health: () => checkHealth(settings, check),
    files: (store) => createFiles(store, keys),
    cipher(tenant = '') {
      checkCall('cipher', { tenant }, { tenant: callOption.name })
      const loadAead = async () =>
        requireRing((await keys.find([{ tenant, subject: null }], true))[0]).aead
      return keepCells(createAeadCipher(loadAead))
    },
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

/** The context of a cell begins with `fe1`, that of a key, a file or an index with `fe-`. */
const OWN_CONTEXT = /^fe(?:1$|-)/

/** With a fixed keyset a cipher has the keys of the tables, so it must not seal what a table would open. */
function keepCells(cipher: Cipher): Cipher {
  return {
    open: (text, context) => cipher.open(text, context),
    async seal(plaintext, context) {
      if (!OWN_CONTEXT.test(context[0] ?? '')) return cipher.seal(plaintext, context)
      throw new PARAPET_FIELD_ENCRYPTION_INVALID_ARGUMENT(
        'the context of a cipher',
        'must not begin with "fe1" or "fe-": use a table',
      )
    },
  }
}

/** A provider that never answers must not keep a readiness check waiting. */
async function checkHealth(
  { provider, deadlineMs, clock }: FieldEncryptionSettings,
  check: () => Promise<void>,
): Promise<void> {
  const late = () => new Error(`The provider gave no answer in ${deadlineMs} ms`)
  try {
    if (provider !== undefined) await withDeadline(provider.health(), deadlineMs, late, clock)
    await check()
  } catch (cause) {
    // Another root key than that of the stored keys: they are no damaged value.
    throw Object.assign(new PARAPET_FIELD_ENCRYPTION_KEY_UNAVAILABLE(), { cause })
  }
}

/** Errors of the key store and the provider become the cause of a 503: their messages may have internals. */
function orUnavailable<T>(work: Promise<T>): Promise<T> {
  return replaceForeignErrors(
    () => work,
    (cause) => Object.assign(new PARAPET_FIELD_ENCRYPTION_KEY_UNAVAILABLE(), { cause }),
  )
}
