/**
 * Keysets in the key table: a tenant's wrapped by the provider, a subject's by the tenant's. One call
 * of the provider thus opens all subjects of a tenant.
 */
import { encodeContext, type Clock } from '@parapet/kit'
import type { Aead } from './aead.ts'
import { exportEncryptedKeyset, parseEncryptedKeyset } from './encrypted-keyset.ts'
import type { KeyScope } from './key-ring.ts'
import type { KeyRecord, KeyStore } from './key-store.ts'
import { generateKeyset, type Keyset } from './keyset.ts'
import { openEnvelope, sealEnvelope, type KeyProvider } from './provider.ts'

/** A keyset as it was loaded, and the record it came from. */
export interface LoadedKeys {
  readonly keyset: Keyset
  readonly record: KeyRecord
}

/** What the vault stands on. */
export interface KeyVaultPorts {
  readonly provider: KeyProvider
  readonly keyStore: KeyStore
  readonly clock: Clock
  /** How long one call of the key table or the provider may take. */
  readonly deadlineMs: number
}

/** Reads and writes the keysets of the key table. It keeps nothing. */
export interface KeyVault {
  /** The tenant's own keys; made where there are none and `create` says so. `null`: there are none. */
  loadTenant(tenant: string, create: boolean): Promise<LoadedKeys | null>
  /** The keys of subjects, in the order asked. `null`: there are none; `'forgotten'`: not any more. */
  loadSubjects(
    tenant: string,
    subjects: readonly string[],
    tenantAead: Aead,
    create: boolean,
  ): Promise<(LoadedKeys | 'forgotten' | null)[]>
  /** Wraps a keyset anew into the next version of its record. */
  wrap(keyset: Keyset, record: KeyRecord, tenantAead: Aead | null): Promise<KeyRecord>
  /** A call of the key table under the deadline. */
  ask<T>(call: (store: KeyStore) => Promise<T>): Promise<T>
}

/** Subjects in one question to the key table; the port promises no more than 10 000. */
const MAX_ASKED = 5000

/** Why a call did not count: it took too long. Never leaves this package. */
class DeadlineError extends Error {
  override readonly name = 'DeadlineError'
}

/** A subject's keys are wrapped by a key of the tenant that is not known here. Never leaves this package. */
export class UnknownWrapperError extends Error {
  override readonly name = 'UnknownWrapperError'
}

/** Makes a {@link KeyVault}. */
export function createKeyVault(ports: KeyVaultPorts): KeyVault {
  return new TableKeyVault(ports)
}

class TableKeyVault implements KeyVault {
  readonly #ports: KeyVaultPorts

  constructor(ports: KeyVaultPorts) {
    this.#ports = ports
  }

  #inTime<T>(work: Promise<T>): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      const cancel = this.#ports.clock.schedule(this.#ports.deadlineMs, () =>
        reject(new DeadlineError('took too long')),
      )
      work.then(resolve, reject).finally(cancel)
    })
  }

  ask<T>(call: (store: KeyStore) => Promise<T>): Promise<T> {
    return this.#inTime(call(this.#ports.keyStore))
  }

  async wrap(keyset: Keyset, record: KeyRecord, tenantAead: Aead | null) {
    const { tenant, subject } = record
    const wrapped = await exportEncryptedKeyset(keyset, (bytes) =>
      tenantAead === null
        ? this.#inTime(sealEnvelope(this.#ports.provider, bytes, contextOf(tenant)))
        : tenantAead.seal(bytes, subjectContext({ tenant, subject })),
    )
    const wrappedBy = tenantAead?.keyset.primaryKeyId ?? 0
    return { ...record, keyset: wrapped, wrappedBy, version: record.version + 1 }
  }

  #create(tenant: string, subject: string, tenantAead: Aead | null) {
    const keyset = generateKeyset()
    const rotatedAt = this.#ports.clock.now()
    const blank = { keyset: null, wrappedBy: 0, version: 0, forgottenAt: null, legalHold: null }
    return this.wrap(keyset, { tenant, subject, rotatedAt, ...blank }, tenantAead)
  }

  async #openRecord(record: KeyRecord, tenantAead: Aead | null): Promise<LoadedKeys> {
    const { tenant, subject } = record
    const keyset = await parseEncryptedKeyset(record.keyset ?? '', (bytes) =>
      tenantAead === null
        ? this.#inTime(openEnvelope(this.#ports.provider, bytes, contextOf(tenant)))
        : tenantAead.open(bytes, subjectContext({ tenant, subject })),
    )
    return { keyset, record }
  }

  async loadTenant(tenant: string, mayCreate: boolean): Promise<LoadedKeys | null> {
    const [found] = await this.ask((store) => store.get(tenant, ['']))
    if (found !== undefined) return this.#openRecord(found, null)
    if (!mayCreate) return null
    const record = await this.#create(tenant, '', null)
    if (await this.ask((store) => store.insert(record))) return this.#openRecord(record, null)
    // Another instance was first: its keys are the tenant's.
    const [winner] = await this.ask((store) => store.get(tenant, ['']))
    return winner === undefined ? null : this.#openRecord(winner, null)
  }

  async loadSubjects(
    tenant: string,
    subjects: readonly string[],
    tenantAead: Aead,
    mayCreate: boolean,
  ): Promise<(LoadedKeys | 'forgotten' | null)[]> {
    const known = new Map<string, KeyRecord>()
    const read = async (names: readonly string[]) => {
      for (let at = 0; at < names.length; at += MAX_ASKED) {
        const some = names.slice(at, at + MAX_ASKED)
        const records = await this.ask((store) => store.get(tenant, some))
        for (const record of records) known.set(record.subject, record)
      }
    }
    await read(subjects)
    const missing = mayCreate ? subjects.filter((subject) => !known.has(subject)) : []
    for (const subject of missing) {
      const record = await this.#create(tenant, subject, tenantAead)
      await this.ask((store) => store.insert(record))
    }
    if (missing.length > 0) await read(missing)
    return Promise.all(
      subjects.map(async (subject) => {
        const record = known.get(subject)
        if (record === undefined) return null
        return record.forgottenAt === null ? this.#openSubject(record, tenantAead) : 'forgotten'
      }),
    )
  }

  async #openSubject(record: KeyRecord, tenantAead: Aead): Promise<LoadedKeys> {
    if (!tenantAead.knows(record.wrappedBy)) throw new UnknownWrapperError('unknown key')
    return this.#openRecord(record, tenantAead)
  }
}

/** What the provider binds a tenant's keys to. */
function contextOf(tenant: string) {
  return { purpose: 'parapet-field-encryption', tenant }
}

function subjectContext({ tenant, subject }: { tenant: string; subject: string }): Buffer {
  return encodeContext(['fe-key1', tenant, subject])
}

/** The name of a scope, for a map. */
export function nameOfScope({ tenant, subject }: KeyScope): string {
  return JSON.stringify([tenant, subject])
}
