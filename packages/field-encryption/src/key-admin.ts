/** What is done to keys: rotate, retire, forget, hold. Each change is conditional on what it saw. */
import type { KeyObject } from 'node:crypto'
import type { Clock } from '@parapet/kit'
import { createAead, type Aead } from './aead.ts'
import {
  PARAPET_FIELD_ENCRYPTION_FORGOTTEN,
  PARAPET_FIELD_ENCRYPTION_INVALID_ARGUMENT,
  PARAPET_FIELD_ENCRYPTION_KEY_IN_USE,
  PARAPET_FIELD_ENCRYPTION_KEY_UNAVAILABLE,
  PARAPET_FIELD_ENCRYPTION_LEGAL_HOLD,
} from './errors.ts'
import type { KeyScope } from './key-ring.ts'
import type { KeyRecord } from './key-store.ts'
import { UnknownWrapperError, type KeyVault, type LoadedKeys } from './key-vault.ts'
import { addPrimaryKey, setKeyStatus, type Keyset } from './keyset.ts'
import { signReceipt } from './receipt.ts'

/** Whose keys; without a subject the tenant's own. */
export interface KeyTarget {
  /** @default '', in a service of one tenant */
  readonly tenant?: string
  readonly subject?: string
}

/** Who is to be forgotten, and why. */
export interface ForgetRequest {
  readonly tenant?: string
  readonly subject: string
  /** Stands in the receipt, 1 to 200 characters: `gdpr-17`. */
  readonly reason: string
}

/** What a rotation did. */
export interface RotationReport {
  readonly primaryKeyId: number
  readonly previousKeyId: number
}

/** What keys there are, and since when. */
export interface KeyStatusReport {
  readonly primaryKeyId: number
  readonly enabledKeyIds: readonly number[]
  /** Whether every instance must have seen the last rotation by now. */
  readonly settled: boolean
}

/** Administers the keys of the key table. */
export interface KeyAdmin {
  /**
   * Gives a scope a fresh primary key. What the former one sealed still opens; `reencrypt` moves it.
   * The keysets of a tenant's subjects are wrapped anew.
   *
   * @throws PARAPET_FIELD_ENCRYPTION_KEY_IN_USE the last rotation is not finished: retire its key first.
   */
  rotate(target?: KeyTarget): Promise<RotationReport>
  /**
   * Destroys a key that nothing needs any more: ask a table's `status` for `safeToDestroy` before.
   *
   * @throws PARAPET_FIELD_ENCRYPTION_KEY_IN_USE it is primary, a subject's keys are wrapped by it, or an
   *   instance may still seal with it.
   */
  retire(keyId: number, target?: KeyTarget): Promise<void>
  /**
   * Destroys the keys of a subject, in the table and, through the store, in every instance.
   *
   * @returns a signed receipt. Asked again it states the same moment, without the ids of the keys.
   * @throws PARAPET_FIELD_ENCRYPTION_LEGAL_HOLD
   */
  forget(request: ForgetRequest): Promise<string>
  /** Forbids to forget a subject until {@link KeyAdmin.release}. */
  hold(request: ForgetRequest): Promise<void>
  /** Ends a legal hold. */
  release(target: { readonly tenant?: string; readonly subject: string }): Promise<void>
  /** Which keys a scope has, and whether the last rotation is known everywhere. */
  keyStatus(target?: KeyTarget): Promise<KeyStatusReport>
}

/** What the administration stands on. */
export interface KeyAdminPorts {
  readonly vault: KeyVault
  readonly clock: Clock
  readonly receiptKey: KeyObject | undefined
  /** No instance uses keys that it read longer ago than this. */
  readonly settleMs: number
  /** Tells every instance, this one included. */
  readonly announce: (scope: KeyScope) => Promise<void>
  readonly onRotated: (scope: KeyScope, report: RotationReport) => void
  readonly onForgotten: (request: Required<ForgetRequest>) => void
}

const MAX_REASON_LENGTH = 200
/** Racers that change one record this often are no accident. */
const MAX_ATTEMPTS = 20
const REWRAP_BATCH = 500

/** Makes the {@link KeyAdmin}. */
export function createKeyAdmin(ports: KeyAdminPorts): KeyAdmin {
  return new TableKeyAdmin(ports)
}

class TableKeyAdmin implements KeyAdmin {
  readonly #ports: KeyAdminPorts

  constructor(ports: KeyAdminPorts) {
    this.#ports = ports
  }

  async #load(scope: KeyScope) {
    for (let attempt = 1; ; attempt++) {
      try {
        return await this.#loadOnce(scope)
      } catch (error) {
        // Between the two reads the tenant got a new key, which wraps the subject's.
        if (!(error instanceof UnknownWrapperError) || attempt === MAX_ATTEMPTS) throw error
      }
    }
  }

  async #loadOnce({ tenant, subject }: KeyScope) {
    const own = await this.#ports.vault.loadTenant(tenant, true)
    if (own === null) throw new PARAPET_FIELD_ENCRYPTION_KEY_UNAVAILABLE()
    const tenantAead = createAead(own.keyset)
    if (subject === null) return { loaded: own, wrapper: null, tenantAead }
    const [loaded] = await this.#ports.vault.loadSubjects(tenant, [subject], tenantAead, true)
    if (loaded === 'forgotten') throw new PARAPET_FIELD_ENCRYPTION_FORGOTTEN()
    if (!loaded) throw new PARAPET_FIELD_ENCRYPTION_KEY_UNAVAILABLE()
    return { loaded, wrapper: tenantAead, tenantAead }
  }

  /** Reads, changes and writes until nobody came in between. */
  async #change(
    scope: KeyScope,
    decide: (loaded: LoadedKeys, wrapper: Aead | null) => Promise<KeyRecord>,
  ): Promise<void> {
    for (let attempt = 0; attempt < MAX_ATTEMPTS; attempt++) {
      const found = await this.#load(scope)
      const next = await decide(found.loaded, found.wrapper)
      if (await this.#ports.vault.ask((store) => store.update(next))) {
        await this.#ports.announce(scope)
        return
      }
    }
    throw new PARAPET_FIELD_ENCRYPTION_KEY_UNAVAILABLE()
  }

  async #rewrapSubjects(tenant: string): Promise<void> {
    const { tenantAead } = await this.#load({ tenant, subject: null })
    const { primaryKeyId } = tenantAead.keyset
    for (;;) {
      const records = await this.#ports.vault.ask((store) =>
        store.notWrappedBy(tenant, primaryKeyId, REWRAP_BATCH),
      )
      if (records.length === 0) return
      for (const { subject } of records) {
        const [loaded] = await this.#ports.vault.loadSubjects(tenant, [subject], tenantAead, false)
        if (!loaded || loaded === 'forgotten') continue
        const next = await this.#ports.vault.wrap(loaded.keyset, loaded.record, tenantAead)
        // Who was faster has wrapped it by the same key, or is found in the next round.
        await this.#ports.vault.ask((store) => store.update(next))
      }
    }
  }

  async rotate(target: KeyTarget = {}): Promise<RotationReport> {
    const scope = scopeOf(target)
    let report: RotationReport | undefined
    await this.#change(scope, async ({ keyset, record }, wrapper) => {
      if (enabledOf(keyset).length > 1) {
        throw new PARAPET_FIELD_ENCRYPTION_KEY_IN_USE('the last rotation is not finished')
      }
      const next = addPrimaryKey(keyset)
      report = { primaryKeyId: next.primaryKeyId, previousKeyId: keyset.primaryKeyId }
      return {
        ...(await this.#ports.vault.wrap(next, record, wrapper)),
        rotatedAt: this.#ports.clock.now(),
      }
    })
    this.#ports.onRotated(scope, report!)
    if (scope.subject === null) await this.#rewrapSubjects(scope.tenant)
    return report!
  }

  async retire(keyId: number, target: KeyTarget = {}): Promise<void> {
    const scope = scopeOf(target)
    if (scope.subject === null) await this.#rewrapSubjects(scope.tenant)
    await this.#change(scope, async ({ keyset, record }, wrapper) => {
      if (keyId === keyset.primaryKeyId) {
        throw new PARAPET_FIELD_ENCRYPTION_KEY_IN_USE('it is the primary')
      }
      if (this.#ports.clock.now() - record.rotatedAt <= this.#ports.settleMs) {
        const problem = `an instance may seal with it until ${this.#ports.settleMs} ms after the rotation`
        throw new PARAPET_FIELD_ENCRYPTION_KEY_IN_USE(problem)
      }
      if (
        scope.subject === null &&
        (await this.#ports.vault.ask((store) => store.countWrappedBy(scope.tenant, keyId))) > 0
      ) {
        throw new PARAPET_FIELD_ENCRYPTION_KEY_IN_USE("subjects' keys are wrapped by it")
      }
      return this.#ports.vault.wrap(setKeyStatus(keyset, keyId, 'destroyed'), record, wrapper)
    })
  }

  async forget(request: ForgetRequest): Promise<string> {
    const { tenant, subject, reason } = readRequest(request)
    if (this.#ports.receiptKey === undefined) {
      throw new PARAPET_FIELD_ENCRYPTION_INVALID_ARGUMENT(
        'forget',
        'needs the option receiptKey to sign with; nothing was destroyed',
      )
    }
    const scope = { tenant, subject }
    for (let attempt = 0; attempt < MAX_ATTEMPTS; attempt++) {
      const record = await this.#findSubject(scope)
      if (record.legalHold !== null) throw new PARAPET_FIELD_ENCRYPTION_LEGAL_HOLD()
      const forgottenAt = record.forgottenAt ?? this.#ports.clock.now()
      const keyIds = keyIdsOf(record)
      const gone = { ...record, keyset: null, forgottenAt, version: record.version + 1 }
      if (
        record.forgottenAt === null &&
        !(await this.#ports.vault.ask((store) => store.update(gone)))
      ) {
        continue
      }
      await this.#ports.announce(scope)
      this.#ports.onForgotten({ tenant, subject, reason })
      const iat = Math.floor(forgottenAt / 1000)
      return signReceipt({ tenant, subject, reason, iat, keyIds }, this.#ports.receiptKey)
    }
    throw new PARAPET_FIELD_ENCRYPTION_KEY_UNAVAILABLE()
  }

  /** The record of a subject; made where there is none, so that nobody makes keys for it later. */
  async #findSubject({ tenant, subject }: { tenant: string; subject: string }) {
    const [record] = await this.#ports.vault.ask((store) => store.get(tenant, [subject]))
    return record ?? (await this.#load({ tenant, subject })).loaded.record
  }

  async hold(request: ForgetRequest): Promise<void> {
    const { tenant, subject, reason } = readRequest(request)
    await this.#change({ tenant, subject }, async ({ record }) => ({
      ...record,
      legalHold: reason,
      version: record.version + 1,
    }))
  }

  async release({
    tenant = '',
    subject,
  }: {
    readonly tenant?: string
    readonly subject: string
  }): Promise<void> {
    await this.#change({ tenant, subject }, async ({ record }) => ({
      ...record,
      legalHold: null,
      version: record.version + 1,
    }))
  }

  async keyStatus(target: KeyTarget = {}): Promise<KeyStatusReport> {
    const { keyset, record } = (await this.#load(scopeOf(target))).loaded
    return {
      primaryKeyId: keyset.primaryKeyId,
      enabledKeyIds: enabledOf(keyset),
      settled: this.#ports.clock.now() - record.rotatedAt > this.#ports.settleMs,
    }
  }
}

function scopeOf({ tenant = '', subject = '' }: KeyTarget): KeyScope {
  return { tenant, subject: subject === '' ? null : subject }
}

function enabledOf({ keys }: Keyset): number[] {
  return keys.filter(({ status }) => status === 'enabled').map(({ id }) => id)
}

/** Which keys a record has, from the part that is in clear. */
function keyIdsOf({ keyset }: KeyRecord): number[] {
  if (keyset === null) return []
  const { keysetInfo } = JSON.parse(keyset) as {
    readonly keysetInfo: { readonly keyInfo: readonly { readonly keyId: number }[] }
  }
  return keysetInfo.keyInfo.map(({ keyId }) => keyId)
}

function readRequest({ tenant = '', subject, reason }: ForgetRequest): Required<ForgetRequest> {
  if (typeof subject !== 'string' || subject === '') {
    throw new PARAPET_FIELD_ENCRYPTION_INVALID_ARGUMENT('the subject', 'must be a non-empty string')
  }
  if (typeof reason !== 'string' || reason === '' || reason.length > MAX_REASON_LENGTH) {
    const problem = `must have 1 to ${MAX_REASON_LENGTH} characters`
    throw new PARAPET_FIELD_ENCRYPTION_INVALID_ARGUMENT('the reason', problem)
  }
  return { tenant, subject, reason }
}
