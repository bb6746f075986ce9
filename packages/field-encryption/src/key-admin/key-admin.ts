/** The administration of keys: rotation, erasure and legal holds. */
import { PARAPET_FIELD_ENCRYPTION_INVALID_ARGUMENT } from '../errors.ts'
import { createKeyChanger, type KeyTarget } from './change-keys.ts'
import { createKeyErasure, type ForgetRequest, type KeyErasurePorts } from './forget.ts'
import {
  createKeyRotation,
  type KeyRotationPorts,
  type KeyStatusReport,
  type RotationReport,
} from './rotate.ts'

/** Administers the keys of the key store. */
export interface KeyAdmin {
  /**
   * Gives a tenant or a subject a fresh primary key. The former key still opens what it sealed;
   * `reencrypt` moves the rows to the new one. The keysets of a tenant's subjects are wrapped again.
   *
   * @throws PARAPET_FIELD_ENCRYPTION_KEY_IN_USE the last rotation is not finished: retire its former
   *   key first.
   */
  rotate(target?: KeyTarget): Promise<RotationReport>
  /**
   * Destroys a former key. First check that the `status` of every table lists it in `safeToDestroy`.
   *
   * @throws PARAPET_FIELD_ENCRYPTION_KEY_IN_USE it is the primary key, it wraps the keys of a subject,
   *   or an instance may still seal with it.
   */
  retire(keyId: number, target?: KeyTarget): Promise<void>
  /**
   * Destroys the keys of a subject in the key store and, through the store, in every instance.
   *
   * @returns a signed receipt. Without key ids it certifies that no keys were destroyed by this call: they
   *   had been before, or the subject never had any. Check its id then.
   * @throws PARAPET_FIELD_ENCRYPTION_LEGAL_HOLD, PARAPET_FIELD_ENCRYPTION_INVALID_ARGUMENT
   */
  forget(request: ForgetRequest): Promise<string>
  /** Places a subject under a legal hold: `forget` refuses until {@link KeyAdmin.release}. */
  hold(request: ForgetRequest): Promise<void>
  /** Ends a legal hold. */
  release(target: { readonly tenant?: string; readonly subject: string }): Promise<void>
  /**
   * The keys of a tenant or a subject, and whether every instance knows of the last rotation; `null` if
   * there are none: keys are created by the first write.
   */
  keyStatus(target?: KeyTarget): Promise<KeyStatusReport | null>
}

/** What {@link createKeyAdmin} needs. */
export type KeyAdminPorts = KeyRotationPorts & KeyErasurePorts

/** Creates a {@link KeyAdmin} over the key store. */
export function createKeyAdmin(ports: KeyAdminPorts): KeyAdmin {
  const changer = createKeyChanger(ports)
  const rotation = createKeyRotation(ports, changer)
  const erasure = createKeyErasure(ports, changer)
  return {
    rotate: (target) => rotation.rotate(target),
    retire: (keyId, target) => rotation.retire(keyId, target),
    keyStatus: (target) => rotation.keyStatus(target),
    forget: (request) => erasure.forget(request),
    hold: (request) => erasure.hold(request),
    release: (target) => erasure.release(target),
  }
}

/** Creates a {@link KeyAdmin} for a service with one fixed keyset, where every call is refused. */
export function createFixedKeyAdmin(): KeyAdmin {
  return {
    rotate: refuseFixed,
    retire: refuseFixed,
    forget: refuseFixed,
    hold: refuseFixed,
    release: refuseFixed,
    keyStatus: refuseFixed,
  }
}

async function refuseFixed(): Promise<never> {
  throw new PARAPET_FIELD_ENCRYPTION_INVALID_ARGUMENT(
    '"keyset"',
    'is fixed and cannot be administered: edit it where it is stored, or use provider and keyStore',
  )
}
