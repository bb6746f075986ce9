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
}

/** Runs the hooks in order; if one fails, rolls back those that had run, the latest first, and rejects. */
export async function runHooks(
  hooks: readonly RotationHook[],
  rotation: Rotation,
  settings: HookSettings,
): Promise<void> {
  const rollbacks: Rollback[] = []
  try {
    for (const hook of hooks) {
      const undo = await within(async () => hook(rotation), settings)
      if (typeof undo === 'function') rollbacks.push(undo)
    }
  } catch (error) {
    for (const rollback of rollbacks.toReversed()) {
      await within(async () => rollback(), settings).catch(settings.onError)
    }
    throw error
  }
}

function within<T>(work: () => Promise<T>, { hookDeadlineMs, clock }: HookSettings): Promise<T> {
  const late = (): Error => new PARAPET_SECRETS_PROVIDER_TIMEOUT('onRotate', hookDeadlineMs)
  return withDeadline(work(), hookDeadlineMs, late, clock)
}
