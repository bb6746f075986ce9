/**
 * Reads and writes keysets in the key store. The provider wraps a tenant's keyset; the tenant's key
 * wraps the keysets of its subjects, so that one provider call unlocks all subjects of a tenant.
 */
import { encodeContext, withDeadline, type Clock } from '@parapet/kit'
import type { Aead } from '../crypto/aead.ts'
import { exportEncryptedKeyset, parseEncryptedKeyset } from '../crypto/encrypted-keyset.ts'
import type { KeyScope } from '../key-ring/key-ring.ts'
import { generateKeyset, type Keyset } from '../crypto/keyset.ts'
import { openEnvelope, sealEnvelope } from '../providers/envelope.ts'
import { KEY_PURPOSE, type KeyProvider } from '../providers/provider.ts'
import type { KeyRecord, KeyStore } from './key-store.ts'

/** A loaded keyset and the record that it came from. */
export interface LoadedKeys {
  readonly keyset: Keyset
  readonly record: KeyRecord
}

/** What {@link createKeysetRepository} needs. */
export interface KeysetRepositoryPorts {
  readonly provider: KeyProvider
  readonly keyStore: KeyStore
  readonly clock: Clock
  /** How long one call of the key store or the provider may take, in milliseconds. */
  readonly deadlineMs: number
  /** Called when a tenant has got its first keys. */
  readonly onCreated: (tenant: string, keyId: number) => void
}

/** Reads and writes keysets. It caches nothing. */
export interface KeysetRepository {
  /** Loads the tenant's own keys. Creates missing ones if `create` is set; otherwise returns `null`. */
  loadTenant(tenant: string, create: boolean): Promise<LoadedKeys | null>
  /**
   * Loads the keys of subjects, in the given order: `null` if there are none and `create` is not set,
   * `'forgotten'` if they were destroyed.
   *
   * @throws UnknownWrapperError
   */
  loadSubjects(
    tenant: string,
    subjects: readonly string[],
    tenantAead: Aead,
    create: boolean,
  ): Promise<(LoadedKeys | 'forgotten' | null)[]>
  /** Returns the next version of a record, with this keyset. @param tenantAead `null`: the provider wraps */
  wrap(keyset: Keyset, record: KeyRecord, tenantAead: Aead | null): Promise<KeyRecord>
  /**
   * Unwraps stored keys, to check the key store and the root key of the provider.
   *
   * @throws the error of the key store or the provider.
   */
  check(): Promise<void>
  /** Calls the key store with the deadline. */
  query<T>(call: (store: KeyStore) => Promise<T>): Promise<T>
}

/** Subjects in one query; the port of the key store allows 10 000. */
const QUERY_SUBJECTS = 5000

/**
 * A subject's keyset is wrapped by a key that the given keyset of the tenant lacks: another instance
 * has rotated the tenant's keys. Never leaves this package.
 */
export class UnknownWrapperError extends Error {
  override readonly name = 'UnknownWrapperError'
}

/** Creates a {@link KeysetRepository}. */
export function createKeysetRepository(ports: KeysetRepositoryPorts): KeysetRepository {
  return new StoredKeysets(ports)
}

class StoredKeysets implements KeysetRepository {
  readonly #ports: KeysetRepositoryPorts
  /** Whether the provider has unwrapped stored keys. */
  #isChecked = false

  constructor(ports: KeysetRepositoryPorts) {
    this.#ports = ports
  }

  #inTime<T>(answer: Promise<T>): Promise<T> {
    const { deadlineMs, clock } = this.#ports
    const late = () => new Error(`The key store or provider gave no answer in ${deadlineMs} ms`)
    return withDeadline(answer, deadlineMs, late, clock)
  }

  query<T>(call: (store: KeyStore) => Promise<T>): Promise<T> {
    return this.#inTime(call(this.#ports.keyStore))
  }

  async wrap(keyset: Keyset, record: KeyRecord, tenantAead: Aead | null) {
    const { tenant, subject } = record
    const wrapped = await exportEncryptedKeyset(keyset, (bytes) =>
      tenantAead === null
        ? this.#inTime(sealEnvelope(this.#ports.provider, bytes, tenantContext(tenant)))
        : tenantAead.seal(bytes, subjectContext(tenant, subject)),
    )
    const wrappedBy = tenantAead?.keyset.primaryKeyId ?? 0
    return { ...record, keyset: wrapped, wrappedBy, version: record.version + 1 }
  }

  #createRecord(tenant: string, subject: string, tenantAead: Aead | null) {
    const keyset = generateKeyset()
    const rotatedAt = this.#ports.clock.now()
    const blank = { keyset: null, wrappedBy: 0, version: 0, forgottenAt: null, legalHold: null }
    return this.wrap(keyset, { tenant, subject, rotatedAt, ...blank }, tenantAead)
  }

  async #unwrap(record: KeyRecord, tenantAead: Aead | null): Promise<LoadedKeys> {
    const { tenant, subject } = record
    const keyset = await parseEncryptedKeyset(record.keyset ?? '', (bytes) =>
      tenantAead === null
        ? this.#inTime(openEnvelope(this.#ports.provider, bytes, tenantContext(tenant)))
        : tenantAead.open(bytes, subjectContext(tenant, subject)),
    )
    return { keyset, record }
  }

  async loadTenant(tenant: string, create: boolean): Promise<LoadedKeys | null> {
    const [found] = await this.query((store) => store.get(tenant, ['']))
    if (found !== undefined) return this.#unwrap(found, null)
    if (!create) return null
    await this.#requireNew(tenant)
    const record = await this.#createRecord(tenant, '', null)
    if (await this.query((store) => store.insert(record))) {
      const created = await this.#unwrap(record, null)
      this.#ports.onCreated(tenant, created.keyset.primaryKeyId)
      return created
    }
    // Another instance has inserted a record in the meantime: use its keys.
    const [other] = await this.query((store) => store.get(tenant, ['']))
    return other === undefined ? null : this.#unwrap(other, null)
  }

  /** Refuses new keys for a tenant that has lost its own, or under another root key than the stored ones. */
  async #requireNew(tenant: string): Promise<void> {
    // No key of a tenant has the id 0, so these are all subjects.
    const [orphan] = await this.query((store) => store.notWrappedBy(tenant, 0, 1))
    if (orphan !== undefined) {
      throw new Error(
        'The key store has keys of subjects of this tenant, but not the keys of the tenant: ' +
          'restore its record from a backup',
      )
    }
    if (!this.#isChecked) await this.check()
  }

  async check(): Promise<void> {
    const record = await this.query(async (store) =>
      store.first === undefined ? (await store.get('', ['']))[0] : store.first(),
    )
    if (record === undefined) return
    await this.#unwrap(record, null)
    this.#isChecked = true
  }

  async loadSubjects(
    tenant: string,
    subjects: readonly string[],
    tenantAead: Aead,
    create: boolean,
  ): Promise<(LoadedKeys | 'forgotten' | null)[]> {
    const records = await this.#readRecords(tenant, subjects)
    const missing = create ? subjects.filter((subject) => !records.has(subject)) : []
    for (const subject of missing) {
      const record = await this.#createRecord(tenant, subject, tenantAead)
      await this.query((store) => store.insert(record))
    }
    // Read back what is stored: another instance may have inserted its own keys first.
    for (const [subject, record] of await this.#readRecords(tenant, missing)) {
      records.set(subject, record)
    }
    return Promise.all(
      subjects.map(async (subject) => {
        const record = records.get(subject)
        if (record === undefined) return null
        return record.forgottenAt === null ? this.#unwrapSubject(record, tenantAead) : 'forgotten'
      }),
    )
  }

  async #readRecords(tenant: string, subjects: readonly string[]): Promise<Map<string, KeyRecord>> {
    const found = new Map<string, KeyRecord>()
    for (let at = 0; at < subjects.length; at += QUERY_SUBJECTS) {
      const some = subjects.slice(at, at + QUERY_SUBJECTS)
      const records = await this.query((store) => store.get(tenant, some))
      for (const record of records) found.set(record.subject, record)
    }
    return found
  }

  async #unwrapSubject(record: KeyRecord, tenantAead: Aead): Promise<LoadedKeys> {
    if (!tenantAead.hasKey(record.wrappedBy)) {
      throw new UnknownWrapperError(`The tenant's keyset has no key ${record.wrappedBy}`)
    }
    return this.#unwrap(record, tenantAead)
  }
}

/** The context that the provider binds a tenant's keys to. */
function tenantContext(tenant: string) {
  return { purpose: KEY_PURPOSE, tenant }
}

function subjectContext(tenant: string, subject: string): Buffer {
  return encodeContext(['fe-key1', tenant, subject])
}

/** The name of a scope, for use as a key of a map. */
export function nameOfScope({ tenant, subject }: KeyScope): string {
  return JSON.stringify([tenant, subject])
}
