/** Makes new values current: all members of a record at the same time. */
import type { Clock } from '@parapet/kit'
import { PARAPET_SECRETS_ROTATION_FAILED } from '../errors.ts'
import { Secret } from '../value/secret.ts'
import { reasonOf } from './reason.ts'
import { runHooks, type Rotation } from './rotation-hooks.ts'
import type { Change, Entry, KeeperReports } from './secret-entry.ts'

/** What a rotation needs. */
export interface RotationSettings {
  readonly hookDeadlineMs: number
  readonly clock: Clock
  readonly onError: (error: unknown) => void
  readonly reports: KeeperReports
}

/** All of the changes become current, or none of them. @returns what failed */
export async function rotateTogether(
  changes: readonly Change[],
  settings: RotationSettings,
): Promise<ReadonlyMap<Entry, unknown>> {
  if (changes.length === 0) return new Map()
  const { reports } = settings
  const rotations = changes.map(({ entry, provided: { value, version, expiresAt } }) => {
    const { name, slot } = entry
    return { entry, expiresAt, name, next: new Secret(value), former: slot.last, version }
  })
  // Hooks may log a value; it works at the provider, also if they fail.
  for (const { entry, next } of rotations) entry.slot.introduce(next)
  reports.inUse()
  const calls = rotations.flatMap(({ entry, name, next, former, version }) =>
    entry.hooks.map((hook) => ({ hook, rotation: { name, next, former, version } })),
  )
  const slots = new Map(rotations.map(({ name, entry }) => [name, entry.slot]))
  const isCurrent = ({ name, next }: Rotation): boolean => slots.get(name)!.last.equals(next)
  try {
    await runHooks(calls, { ...settings, isCurrent })
  } catch (error) {
    const failed = rotations.map(({ entry, name }) => {
      entry.failures += 1
      reports.rotationFailed(name, 'onRotate', error)
      const failure = new PARAPET_SECRETS_ROTATION_FAILED(name, reasonOf(error), { cause: error })
      return [entry, failure] as const
    })
    return new Map(failed)
  }
  for (const { entry, next, version, expiresAt } of rotations) {
    replace(entry, { next, version, expiresAt }, settings)
  }
  reports.inUse()
  for (const { entry, version } of rotations) {
    reports.rotated(entry.name, version, entry.kept.overlapMs)
  }
  return new Map()
}

function replace(
  entry: Entry,
  { next, version, expiresAt }: { next: Secret; version: string; expiresAt: number | undefined },
  { clock, reports }: RotationSettings,
): void {
  const { slot, kept } = entry
  const former = slot.last
  slot.replace(next, version, expiresAt)
  entry.warnedFor = undefined
  // Each former value has its own overlap, also if the next rotation comes sooner.
  const cancel = clock.schedule(kept.overlapMs, () => {
    entry.overlaps.delete(cancel)
    slot.retire(former)
    reports.inUse()
  })
  entry.overlaps.add(cancel)
}
