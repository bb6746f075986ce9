/** What other parts of the service do when a secret rotates, and how that is undone. */
import { withDeadline, type Clock } from '@parapet/kit'
import { PARAPET_SECRETS_PROVIDER_TIMEOUT } from '../errors.ts'
import type { Secret } from '../value/secret.ts'

/** A rotation, as a hook receives it. */
export interface Rotation {
  readonly name: string
  /** The new value, which becomes current when all hooks have succeeded. */
  readonly next: Secret
  /** The value that is current now, and is accepted until the overlap ends. */
  readonly former: Secret
  readonly version: string
}

/** Undoes what a hook did, because a later hook failed. */
export type Rollback = () => void | Promise<void>

/**
 * Prepares the service for a new value, for instance opens a pool with the new password. If it rejects, or
 * takes longer than `hookDeadlineMs`, the former value stays.
 */
export type RotationHook = (
  rotation: Rotation,
) => void | Rollback | Promise<void> | Promise<Rollback> | Promise<void | Rollback>

/** What {@link runHooks} needs. */
export interface HookSettings {
  readonly hookDeadlineMs: number
  readonly clock: Clock
  /** Gets what a rollback throws. */
  readonly onError: (error: unknown) => void
  /** Whether the value of a rotation became current after all, by a later attempt. */
  readonly isCurrent: (rotation: Rotation) => boolean
}

/** A hook and the rotation it is called for. */
export interface HookCall {
  readonly hook: RotationHook
  readonly rotation: Rotation
}

/** Runs the hooks in order; if one fails, rolls back those that had run, the latest first, and rejects. */
export async function runHooks(calls: readonly HookCall[], settings: HookSettings): Promise<void> {
  const rollbacks: Rollback[] = []
  try {
    for (const call of calls) {
      const undo = await runHook(call, settings)
      if (typeof undo === 'function') rollbacks.push(undo)
    }
  } catch (error) {
    for (const rollback of rollbacks.toReversed()) await rollBack(rollback, settings)
    throw error
  }
}

async function runHook(
  { hook, rotation }: HookCall,
  settings: HookSettings,
): Promise<void | Rollback> {
  const work = (async () => hook(rotation))()
  try {
    return await within(work, settings)
  } catch (error) {
    // A hook that ends after its deadline has prepared a value that did not become current.
    const undoLate = async (undo: void | Rollback): Promise<void> => {
      if (typeof undo === 'function' && !settings.isCurrent(rotation)) {
        await rollBack(undo, settings)
      }
    }
    void work.then(undoLate, () => {})
    throw error
  }
}

async function rollBack(rollback: Rollback, settings: HookSettings): Promise<void> {
  await within((async () => rollback())(), settings).catch(settings.onError)
}

function within<T>(work: Promise<T>, { hookDeadlineMs, clock }: HookSettings): Promise<T> {
  const late = (): Error => new PARAPET_SECRETS_PROVIDER_TIMEOUT('onRotate', hookDeadlineMs)
  return withDeadline(work, hookDeadlineMs, late, clock)
}
