/** Assembles the source and the administration of keys: one fixed keyset, or keys in the key store. */
import type { SecurityEvents } from '@parapet/kit'
import type { KeySource } from './key-ring/key-ring.ts'
import { readReceiptKey } from './key-admin/erasure-receipt.ts'
import { createFixedKeyAdmin, createKeyAdmin, type KeyAdmin } from './key-admin/key-admin.ts'
import { followKeyChanges, type KeyChanges } from './key-admin/key-changes.ts'
import { createFixedKeySource } from './keys/fixed-keyset.ts'
import { KeyCache } from './keys/key-cache.ts'
import { createKeysetRepository, type KeysetRepository } from './keys/keyset-repository.ts'
import type { FieldEncryptionSettings } from './options.ts'

/** What {@link createKeyService} needs. */
export interface KeyServicePorts {
  readonly settings: FieldEncryptionSettings
  readonly events: SecurityEvents
  readonly warn: (fields: object, message: string) => void
}

/** The keys of the service. */
export interface KeyService {
  readonly keys: KeySource
  readonly admin: KeyAdmin
  /** Whether subjects can have keys of their own. */
  readonly hasSubjects: boolean
  /** Whether no instance can still seal with a former key of the tenant. */
  readonly isSettled: (tenant: string) => Promise<boolean>
  /** Subscribes to the key changes of the other instances. */
  readonly start: () => Promise<void>
  readonly close: () => Promise<void>
  /** Checks that stored keys can be unwrapped. */
  readonly check: () => Promise<void>
}

const NEAR_LIMIT =
  'field-encryption: the primary key has sealed half of the values that it may. Rotate it.'

/** Creates the {@link KeyService} that the options select. */
export function createKeyService(ports: KeyServicePorts): KeyService {
  const { keyset } = ports.settings
  return keyset === undefined ? createManagedKeys(ports) : createFixedKeys(keyset, ports)
}

function createFixedKeys(keyset: string | (() => string), { warn }: KeyServicePorts): KeyService {
  const read = typeof keyset === 'string' ? () => keyset : keyset
  return {
    keys: createFixedKeySource(read, () => warn({}, NEAR_LIMIT)),
    admin: createFixedKeyAdmin(),
    hasSubjects: false,
    isSettled: async () => true,
    start: async () => {},
    check: async () => {},
    close: async () => {},
  }
}

function createManagedKeys(ports: KeyServicePorts): KeyService {
  const { settings, warn } = ports
  const { store, clock, ownsStore } = settings
  const repository = createKeysetRepository({
    provider: settings.provider!,
    keyStore: settings.keyStore!,
    clock,
    deadlineMs: settings.deadlineMs,
    onCreated: (tenant, keyId) =>
      ports.events.emit('field_encryption.created', { details: { tenant, keyId } }),
  })
  const keys = createCache(ports, repository)
  const changes = followKeyChanges({
    store,
    clock,
    warn,
    onChange: (scope) => keys.drop(scope),
    onStateChange: (isCurrent) => keys.setCurrent(isCurrent),
  })
  const admin = createAdmin(ports, repository, changes)
  return {
    keys,
    admin,
    hasSubjects: true,
    isSettled: async (tenant) => (await admin.keyStatus({ tenant }))?.settled === true,
    start: () => changes.start(),
    check: () => repository.check(),
    async close() {
      await changes.stop()
      await keys.flush().catch((error: unknown) => {
        warn({ err: error }, 'field-encryption could not write how often keys were used.')
      })
      if (ownsStore) await store.close()
    },
  }
}

function createCache(
  { settings, events, warn }: KeyServicePorts,
  repository: KeysetRepository,
): KeyCache {
  return new KeyCache({
    ...settings.cache,
    repository,
    clock: settings.clock,
    onUnavailable({ tenant }, served, error) {
      warn(
        { err: error, tenant, served },
        'field-encryption could not load keys. Check "provider" and "keyStore".',
      )
      events.emit('field_encryption.key_unavailable', { details: { tenant, served } })
    },
    onNearLimit: ({ tenant }, keyId) => warn({ tenant, keyId }, NEAR_LIMIT),
  })
}

function createAdmin(
  { settings, events }: KeyServicePorts,
  repository: KeysetRepository,
  changes: KeyChanges,
): KeyAdmin {
  const { cache, clock, receiptKey } = settings
  return createKeyAdmin({
    repository,
    clock,
    receiptKey: receiptKey === undefined ? undefined : readReceiptKey(receiptKey),
    settleMs: cache.maxAgeMs + cache.maxStaleMs,
    announce: (scope) => changes.announce(scope),
    onRotated: ({ tenant }, report) =>
      events.emit('field_encryption.rotated', { details: { tenant, ...report } }),
    onForgotten: ({ tenant, subject, reason }) =>
      events.emit('field_encryption.forgotten', {
        resourceType: 'subject',
        resourceId: subject,
        details: { tenant, reason },
      }),
  })
}
