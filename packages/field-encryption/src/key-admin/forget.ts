/** Erasure of data subjects by destroying their keys (crypto-shredding), and legal holds. */
import type { KeyObject } from 'node:crypto'
import { conflict, retryConflicts } from '@parapet/kit'
import { callOption, checkCall } from '../call-options.ts'
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

/** Selects a subject whose legal hold ends. */
type ReleaseTarget = Omit<ForgetRequest, 'reason'>

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
  release(target: ReleaseTarget): Promise<void>
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
    const { tenant, subject, reason } = readRequest('forget', request)
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
    const { repository, clock } = this.#ports
    const [record] = await repository.query((store) => store.get(tenant, [subject]))
    const forgottenAt = clock.now()
    if (record === undefined) {
      // No keys are created for this subject later, and none are certified as destroyed.
      const blank = { keyset: null, wrappedBy: 0, version: 1, rotatedAt: forgottenAt }
      const tombstone = { tenant, subject, ...blank, forgottenAt, legalHold: null }
      const isInserted = await repository.query((store) => store.insert(tombstone))
      return isInserted ? { forgottenAt, keyIds: [] } : undefined
    }
    if (record.legalHold !== null) throw new PARAPET_FIELD_ENCRYPTION_LEGAL_HOLD()
    if (record.forgottenAt !== null) return { forgottenAt: record.forgottenAt, keyIds: [] }
    const next = { ...record, keyset: null, forgottenAt, version: record.version + 1 }
    const isWritten = await repository.query((store) => store.update(next))
    return isWritten ? { forgottenAt, keyIds: keyIdsOf(record) } : undefined
  }

  async hold(request: ForgetRequest): Promise<void> {
    const { tenant, subject, reason } = readRequest('hold', request)
    await this.#setHold(tenant, subject, reason)
  }

  async release(target: ReleaseTarget): Promise<void> {
    const { tenant, subject } = readRequest('release', { ...target, reason: 'release' })
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

const requestTable = {
  tenant: callOption.name,
  subject: callOption.text,
  reason: callOption.text,
}

function readRequest(call: string, request: ForgetRequest): Required<ForgetRequest> {
  checkCall<ForgetRequest>(call, request, requestTable)
  const { tenant = '', subject, reason } = request
  if (subject === undefined || reason === undefined || reason.length > MAX_REASON_LENGTH) {
    throw new PARAPET_FIELD_ENCRYPTION_INVALID_ARGUMENT(
      call,
      `needs a "subject", and a "reason" of 1 to ${MAX_REASON_LENGTH} characters`,
    )
  }
  return { tenant, subject, reason }
}
