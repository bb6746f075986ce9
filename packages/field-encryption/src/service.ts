/** What the plugin puts at `app.fieldEncryption`, made of its parts. Knows nothing of Fastify. */
import type { Cipher, SecurityEvents } from '@parapet/kit'
import type { TObject } from '@sinclair/typebox'
import { MAX_KEY_USES } from './aead.ts'
import { cipherOver } from './cipher.ts'
import { createAnnouncer, CHANNEL } from './announcer.ts'
import { createTable } from './encrypted-table.ts'
import {
  PARAPET_FIELD_ENCRYPTION_FORGOTTEN,
  PARAPET_FIELD_ENCRYPTION_KEY_UNAVAILABLE,
  PARAPET_FIELD_ENCRYPTION_OPEN_FAILED,
  PARAPET_FIELD_ENCRYPTION_PLAINTEXT_FOUND,
} from './errors.ts'
import type { FileStore } from './file-store.ts'
import { createFiles, type Files } from './files.ts'
import { createFixedKeyAdmin, createFixedKeySource } from './fixed-keys.ts'
import { createKeyAdmin, type KeyAdmin } from './key-admin.ts'
import { KeyCache } from './key-cache.ts'
import type { KeyScope, KeySource } from './key-ring.ts'
import { createKeyVault } from './key-vault.ts'
import { parseKeyset } from './keyset.ts'
import type { FieldEncryptionSettings } from './options.ts'
import type { KeyProviderDescription } from './provider.ts'
import { readReceiptKey } from './receipt.ts'
import type { Table, TableOptions } from './table.ts'

/** What is at `app.fieldEncryption`. */
export interface FieldEncryption extends KeyAdmin {
  /**
   * Declares a table, once, at boot.
   *
   * @param name part of what every value is bound to: it never changes.
   * @throws PARAPET_FIELD_ENCRYPTION_INVALID_SCHEMA
   */
  table<T extends TObject>(name: string, schema: T, options?: TableOptions): Table<T>
  /** Files in a store, under the same keys. */
  files(store: FileStore): Files
  /** Kit's `Cipher` under the keys of a tenant, for the plugins that take one. */
  cipher(tenant?: string): Cipher
  /** Which provider keeps the root key; `null` with a fixed keyset. */
  readonly provider: KeyProviderDescription | null
  /** Resolves when the provider would answer now. */
  health(): Promise<void>
}

/** The service and its life. */
export interface FieldEncryptionService {
  readonly service: FieldEncryption
  /** Starts to listen to the other instances. */
  readonly start: () => Promise<void>
  readonly close: () => Promise<void>
}

/** What the service stands on. */
export interface ServicePorts {
  readonly settings: FieldEncryptionSettings
  readonly events: SecurityEvents
  readonly warn: (fields: object, message: string) => void
}

/** What is worth an alert; a wrong call, or keys that are away, is told elsewhere. */
const DENIALS = [
  PARAPET_FIELD_ENCRYPTION_FORGOTTEN,
  PARAPET_FIELD_ENCRYPTION_OPEN_FAILED,
  PARAPET_FIELD_ENCRYPTION_PLAINTEXT_FOUND,
]

/** Makes the service. */
export function createService(ports: ServicePorts): FieldEncryptionService {
  const { keyset } = ports.settings
  return keyset === undefined ? createKeyedService(ports) : createFixedService(ports, keyset)
}

function createFixedService(ports: ServicePorts, keyset: string): FieldEncryptionService {
  const keys = createFixedKeySource(parseKeyset(keyset), { count: 0, limit: MAX_KEY_USES }, () =>
    ports.warn({}, 'the primary key nears the limit of its nonces: rotate the keyset'),
  )
  const parts = { keys, admin: createFixedKeyAdmin(), hasSubjects: false }
  return {
    service: assemble(ports, { ...parts, isSettled: async () => true }),
    start: async () => {},
    close: async () => {},
  }
}

function createKeyedService(ports: ServicePorts): FieldEncryptionService {
  const { settings, events, warn } = ports
  const { store, cache, clock, deadlineMs, ownsStore } = settings
  const vault = createKeyVault({
    provider: settings.provider!,
    keyStore: settings.keyStore!,
    clock,
    deadlineMs,
  })
  const keys = new KeyCache({
    ...cache,
    vault,
    clock,
    onUnavailable({ tenant }, served, error) {
      warn({ err: error, tenant, served }, 'encryption keys could not be fetched')
      events.emit('field_encryption.key_unavailable', { details: { tenant, served } })
    },
    onNearLimit: ({ tenant }, keyId) =>
      warn({ tenant, keyId }, 'a key nears the limit of its nonces: rotate it'),
  })
  const announcer = createAnnouncer({ store, clock, warn })
  const admin = createKeyAdmin({
    vault,
    clock,
    receiptKey: settings.receiptKey === undefined ? undefined : readReceiptKey(settings.receiptKey),
    settleMs: cache.maxAgeMs + cache.maxStaleMs,
    async announce(scope) {
      keys.drop(scope)
      await announcer.announce(scope)
    },
    onRotated: ({ tenant }, report) =>
      events.emit('field_encryption.rotated', { details: { tenant, ...report } }),
    onForgotten: ({ tenant, subject, reason }) =>
      events.emit('field_encryption.forgotten', {
        resourceType: 'subject',
        resourceId: subject,
        details: { tenant, reason },
      }),
  })
  let unsubscribe: (() => Promise<void>) | undefined
  const isSettled = async (tenant: string) => (await admin.keyStatus({ tenant })).settled
  return {
    service: assemble(ports, { keys, admin, hasSubjects: true, isSettled }),
    async start() {
      unsubscribe = await listen(ports, keys)
    },
    async close() {
      await unsubscribe?.()
      announcer.close()
      await keys.flush().catch((error: unknown) => warn({ err: error }, 'uses were not counted'))
      if (ownsStore) await store.close()
    },
  }
}

/** Hears of changes of keys. Where that is not possible now, nothing that was pushed is trusted. */
async function listen({ settings, warn }: ServicePorts, keys: KeyCache) {
  try {
    return await settings.store.subscribe(CHANNEL, {
      message(message) {
        const scope = JSON.parse(message) as KeyScope
        keys.drop({ tenant: scope.tenant, subject: scope.subject })
      },
      interrupted: () => keys.stopTrusting(),
      restored: () => keys.trustAgain(),
    })
  } catch (error) {
    warn({ err: error }, 'changes of keys are not heard of: the key table is read each time')
    keys.stopTrusting()
    return async () => {}
  }
}

interface Parts {
  readonly keys: KeySource
  readonly admin: KeyAdmin
  readonly hasSubjects: boolean
  readonly isSettled: (tenant: string) => Promise<boolean>
}

function assemble({ settings, events }: ServicePorts, parts: Parts): FieldEncryption {
  const { keys, admin, hasSubjects, isSettled } = parts
  const sample = createSampler(settings.decryptedEventRatio)
  return {
    rotate: (target) => answered(admin.rotate(target)),
    retire: (keyId, target) => answered(admin.retire(keyId, target)),
    forget: (request) => answered(admin.forget(request)),
    hold: (request) => answered(admin.hold(request)),
    release: (target) => answered(admin.release(target)),
    keyStatus: (target) => answered(admin.keyStatus(target)),
    provider: settings.provider?.describe() ?? null,
    health: async () => settings.provider?.health(),
    files: (store) => createFiles(store, keys),
    cipher: (tenant = '') =>
      cipherOver(async () => {
        const [ring] = await keys.find([{ tenant, subject: null }], true)
        if (ring === 'forgotten') throw new PARAPET_FIELD_ENCRYPTION_FORGOTTEN()
        if (!ring) throw new PARAPET_FIELD_ENCRYPTION_OPEN_FAILED()
        return ring.aead
      }),
    table: (name, schema, options = {}) =>
      createTable(name, schema, options, {
        keys,
        hasSubjects,
        isSettled,
        onDecrypted(table, counts) {
          for (const [column, count] of counts) {
            const due = sample(`${table}.${column}`, count)
            if (due > 0) {
              const details = { table, column, count: due }
              events.emit('field_encryption.decrypted', { details })
            }
          }
        },
        onDenied(table, error) {
          const { code } = error as { readonly code: string }
          if (!DENIALS.some((each) => error instanceof each)) return
          events.emit('field_encryption.denied', { details: { table, code } })
        },
      }),
  }
}

/** The key table's and the provider's own errors stay inside, as the cause for the log. */
async function answered<T>(work: Promise<T>): Promise<T> {
  try {
    return await work
  } catch (error) {
    const { code } = error as { readonly code?: unknown }
    if (typeof code === 'string' && code.startsWith('PARAPET_')) throw error
    throw Object.assign(new PARAPET_FIELD_ENCRYPTION_KEY_UNAVAILABLE(), { cause: error })
  }
}

/** Every so many decryptions of a column one event is due; it carries the count of all since the last. */
function createSampler(ratio: number): (column: string, count: number) => number {
  const pending = new Map<string, { share: number; count: number }>()
  return (column, count) => {
    if (ratio === 0) return 0
    const state = pending.get(column) ?? { share: 0, count: 0 }
    pending.set(column, state)
    state.share += ratio
    state.count += count
    // Shares such as 0.1 do not add up to a whole in binary.
    if (state.share < 1 - 1e-9) return 0
    const due = state.count
    state.share -= 1
    state.count = 0
    return due
  }
}
