/** Key rotation: a fresh primary key, and the destruction of the former one. */
import type { KeyScope } from '../key-ring/key-ring.ts'
import { addPrimaryKey, setKeyStatus } from '../crypto/keyset.ts'
import { PARAPET_FIELD_ENCRYPTION_KEY_IN_USE } from '../errors.ts'
import type { KeyRecord } from '../keys/key-store.ts'
import type { LoadedKeys } from '../keys/keyset-repository.ts'
import {
  enabledKeyIds,
  scopeOf,
  type KeyChanger,
  type KeyChangerPorts,
  type KeyTarget,
} from './change-keys.ts'

/** The result of a rotation. */
export interface RotationReport {
  readonly primaryKeyId: number
  readonly previousKeyId: number
}

/** The keys of a scope. */
export interface KeyStatusReport {
  readonly primaryKeyId: number
  readonly enabledKeyIds: readonly number[]
  /** Whether every instance uses the new primary key by now. */
  readonly settled: boolean
}

/** What {@link createKeyRotation} needs. */
export interface KeyRotationPorts extends KeyChangerPorts {
  /** No instance uses keys that it loaded longer ago than this, in milliseconds. */
  readonly settleMs: number
  readonly onRotated: (scope: KeyScope, report: RotationReport) => void
}

/** The part of `KeyAdmin` that rotates keys. */
export interface KeyRotation {
  rotate(target?: KeyTarget): Promise<RotationReport>
  retire(keyId: number, target?: KeyTarget): Promise<void>
  keyStatus(target?: KeyTarget): Promise<KeyStatusReport | null>
}

const REWRAP_BATCH = 500

/** Creates a {@link KeyRotation}. */
export function createKeyRotation(ports: KeyRotationPorts, changer: KeyChanger): KeyRotation {
  return new StoredKeyRotation(ports, changer)
}

class StoredKeyRotation implements KeyRotation {
  readonly #ports: KeyRotationPorts
  readonly #changer: KeyChanger

  constructor(ports: KeyRotationPorts, changer: KeyChanger) {
    this.#ports = ports
    this.#changer = changer
  }

  async rotate(target?: KeyTarget): Promise<RotationReport> {
    const scope = scopeOf('rotate', target)
    let report: RotationReport | undefined
    await this.#changer.change(scope, async ({ keyset, record }, wrapper) => {
      if (enabledKeyIds(keyset).length > 1) {
        throw new PARAPET_FIELD_ENCRYPTION_KEY_IN_USE('the last rotation is not finished')
      }
      const next = addPrimaryKey(keyset)
      report = { primaryKeyId: next.primaryKeyId, previousKeyId: keyset.primaryKeyId }
      const wrapped = await this.#ports.repository.wrap(next, record, wrapper)
      return { ...wrapped, rotatedAt: this.#ports.clock.now() }
    })
    this.#ports.onRotated(scope, report!)
    if (scope.subject === null) await this.#rewrapSubjects(scope.tenant)
    return report!
  }

  async retire(keyId: number, target?: KeyTarget): Promise<void> {
    const scope = scopeOf('retire', target)
    if (scope.subject === null) await this.#rewrapSubjects(scope.tenant)
    await this.#changer.change(scope, async (loaded, wrapper) => {
      const { keyset, record } = loaded
      await this.#requireUnused(keyId, scope, loaded)
      const next = setKeyStatus(keyset, keyId, 'destroyed')
      return this.#ports.repository.wrap(next, record, wrapper)
    })
  }

  async keyStatus(target?: KeyTarget): Promise<KeyStatusReport | null> {
    const found = await this.#changer.find(scopeOf('keyStatus', target))
    if (found === null) return null
    const { keyset, record } = found.loaded
    return {
      primaryKeyId: keyset.primaryKeyId,
      enabledKeyIds: enabledKeyIds(keyset),
      settled: this.#isSettled(record),
    }
  }

  #isSettled({ rotatedAt }: KeyRecord): boolean {
    return this.#ports.clock.now() - rotatedAt > this.#ports.settleMs
  }

  /** @throws PARAPET_FIELD_ENCRYPTION_KEY_IN_USE */
  async #requireUnused(keyId: number, { tenant, subject }: KeyScope, loaded: LoadedKeys) {
    if (keyId === loaded.keyset.primaryKeyId) {
      throw new PARAPET_FIELD_ENCRYPTION_KEY_IN_USE('it is the primary key')
    }
    if (!this.#isSettled(loaded.record)) {
      throw new PARAPET_FIELD_ENCRYPTION_KEY_IN_USE(
        `instances may seal with it until ${this.#ports.settleMs} ms after the rotation`,
      )
    }
    if (subject !== null) return
    const wrapped = await this.#ports.repository.query((store) =>
      store.countWrappedBy(tenant, keyId),
    )
    if (wrapped > 0) {
      throw new PARAPET_FIELD_ENCRYPTION_KEY_IN_USE(`it wraps the keys of ${wrapped} subjects`)
    }
  }

  /** Wraps the keysets of a tenant's subjects by the tenant's primary key. */
  async #rewrapSubjects(tenant: string): Promise<void> {
    const { repository } = this.#ports
    const { tenantAead } = await this.#changer.load({ tenant, subject: null })
    const { primaryKeyId } = tenantAead.keyset
    for (;;) {
      const records = await repository.query((store) =>
        store.notWrappedBy(tenant, primaryKeyId, REWRAP_BATCH),
      )
      if (records.length === 0) return
      for (const { subject } of records) {
        const [loaded] = await repository.loadSubjects(tenant, [subject], tenantAead, false)
        if (!loaded || loaded === 'forgotten') continue
        const next = await repository.wrap(loaded.keyset, loaded.record, tenantAead)
        // If another instance wrote first, the next query finds the record again if it must.
        await repository.query((store) => store.update(next))
      }
    }
  }
}
