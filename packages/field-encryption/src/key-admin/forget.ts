/** Erasure of data subjects by destroying their keys (crypto-shredding), and legal holds. */
import type { KeyObject } from 'node:crypto'
import { conflict, retryConflicts } from '@parapet/kit'
import {
  PARAPET_FIELD_ENCRYPTION_INVALID_ARGUMENT,
  PARAPET_FIELD_ENCRYPTION_KEY_UNAVAILABLE,
  PARAPET_FIELD_ENCRYPTION_LEGAL_HOLD,
} from '../errors.ts'
import type { KeyRecord } from '../keys/key-store.ts'
import type { KeyChanger, KeyChangerPorts } from './change-keys.ts'
import { signReceipt } from './erasure-receipt.ts'

/** Selects a subject, and says why. */
export interface ForgetRequest {
  /** @default '', in a service with one tenant */
  readonly tenant?: string
  readonly subject: string
  /** Part of the receipt, 1 to 200 characters: `gdpr-17`. */
  readonly reason: string
}

/** What {@link createKeyErasure} needs. */
export interface KeyErasurePorts extends KeyChangerPorts {
  /** Signs receipts; without it `forget` refuses. */
  readonly receiptKey: KeyObject | undefined
  readonly onForgotten: (request: Required<ForgetRequest>) => void
}

/** The part of `KeyAdmin` that erases subjects. */
export interface KeyErasure {
  forget(request: ForgetRequest): Promise<string>
  hold(request: ForgetRequest): Promise<void>
  release(target: { readonly tenant?: string; readonly subject: string }): Promise<void>
}

const MAX_REASON_LENGTH = 200

/** Creates a {@link KeyErasure}. */
export function createKeyErasure(ports: KeyErasurePorts, changer: KeyChanger): KeyErasure {
  return new StoredKeyErasure(ports, changer)
}

class StoredKeyErasure implements KeyErasure {
  readonly #ports: KeyErasurePorts
  readonly #changer: KeyChanger

  constructor(ports: KeyErasurePorts, changer: KeyChanger) {
    this.#ports = ports
    this.#changer = changer
  }

  async forget(request: ForgetRequest): Promise<string> {
    const { tenant, subject, reason } = readRequest(request)
    const { receiptKey } = this.#ports
    if (receiptKey === undefined) {
      throw new PARAPET_FIELD_ENCRYPTION_INVALID_ARGUMENT(
        '"receiptKey"',
        'must be set to sign erasure receipts; nothing was destroyed',
      )
    }
    const { forgottenAt, keyIds } = await retryConflicts<{ forgottenAt: number; keyIds: number[] }>(
      async () => (await this.#destroyKeys(tenant, subject)) ?? conflict,
      () => new PARAPET_FIELD_ENCRYPTION_KEY_UNAVAILABLE(),
    )
    await this.#ports.announce({ tenant, subject })
    this.#ports.onForgotten({ tenant, subject, reason })
    const iat = Math.floor(forgottenAt / 1000)
    return signReceipt({ tenant, subject, reason, iat, keyIds }, receiptKey)
  }

  /** @returns `undefined` if another instance changed the record in between. */
  async #destroyKeys(tenant: string, subject: string) {
    const record = await this.#findRecord(tenant, subject)
    if (record.legalHold !== null) throw new PARAPET_FIELD_ENCRYPTION_LEGAL_HOLD()
    if (record.forgottenAt !== null) return { forgottenAt: record.forgottenAt, keyIds: [] }
    const forgottenAt = this.#ports.clock.now()
    const next = { ...record, keyset: null, forgottenAt, version: record.version + 1 }
    const isWritten = await this.#ports.repository.query((store) => store.update(next))
    return isWritten ? { forgottenAt, keyIds: keyIdsOf(record) } : undefined
  }

  /** Creates a missing record, so that no keys are created for this subject later. */
  async #findRecord(tenant: string, subject: string): Promise<KeyRecord> {
    const [record] = await this.#ports.repository.query((store) => store.get(tenant, [subject]))
    return record ?? (await this.#changer.load({ tenant, subject })).loaded.record
  }

  async hold(request: ForgetRequest): Promise<void> {
    const { tenant, subject, reason } = readRequest(request)
    await this.#setHold(tenant, subject, reason)
  }

  async release({
    tenant = '',
    subject,
  }: {
    readonly tenant?: string
    readonly subject: string
  }): Promise<void> {
    await this.#setHold(tenant, subject, null)
  }

  async #setHold(tenant: string, subject: string, legalHold: string | null): Promise<void> {
    await this.#changer.change({ tenant, subject }, async ({ record }) => ({
      ...record,
      legalHold,
      version: record.version + 1,
    }))
  }
}

/** The key ids of a record, from its unencrypted part. */
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
    throw new PARAPET_FIELD_ENCRYPTION_INVALID_ARGUMENT(
      'the reason',
      `must be a string of 1 to ${MAX_REASON_LENGTH} characters`,
    )
  }
  return { tenant, subject, reason }
}
