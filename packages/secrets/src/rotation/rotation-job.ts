/** The jobs of a rotation. A key of a job is used once, so each attempt has its own. */
import type { Jobs } from '@parapet/kit'
import { PARAPET_SECRETS_KEY_ROTATION_FAILED } from '../errors.ts'

/** What a job does: begins a rotation, goes on with one, or retires its old key because that is due. */
type RotationPhase = 'begin' | 'resume' | 'retire'

/** The payload. A phase other than `begin` never starts a rotation. */
export type RotationJob = Readonly<Record<'rotationId' | 'phase', string>> & {
  readonly phase: RotationPhase
}

/** The keys of the attempts, in order, so that all instances ask for the same one. */
export interface JobKeys {
  readonly first: string
  /** Stands between the first key and the number of a later attempt. */
  readonly mark: string
}

/** Rotations that are begun at one version of the record. */
export const beginKeys = (rotationId: string): JobKeys => ({ first: rotationId, mark: '.' })
/** Attempts to finish a rotation. */
export const resumeKeys = (rotationId: string): JobKeys => ({
  first: rotationId,
  mark: ':resume.',
})
/** Attempts to retire its old key. */
export const retireKeys = (rotationId: string): JobKeys => ({
  first: `${rotationId}:retire`,
  mark: '.',
})

const MAX_ATTEMPTS = 1000

function keyAt({ first, mark }: JobKeys, attempt: number): string {
  return attempt === 1 ? first : `${first}${mark}${attempt}`
}

/**
 * Makes sure that a job runs: a waiting or running one is left alone, a dead one is revived, and after one
 * that is done, cancelled or archived comes another.
 *
 * @param payload by the key of the job.
 * @param isStillWanted asked before another job is made.
 * @returns the key of the job; `null`: it is no longer wanted.
 * @throws PARAPET_SECRETS_KEY_ROTATION_FAILED no key is left.
 */
export async function ensureJob(
  { jobs, job, name }: { readonly jobs: Jobs; readonly job: string; readonly name: string },
  keys: JobKeys,
  payload: (key: string) => RotationJob,
  at?: number,
  isStillWanted: () => Promise<boolean> = async () => true,
): Promise<string | null> {
  for (let attempt = 1; attempt <= MAX_ATTEMPTS; attempt++) {
    const key = keyAt(keys, attempt)
    const due = at === undefined ? {} : { at }
    const { id, isNew } = await jobs.enqueue(job, payload(key), { key, ...due })
    if (isNew) return key
    const found = await jobs.find(job, key)
    if (found?.state === 'waiting' || found?.state === 'running') return key
    // An archived job can be found, but not revived.
    if (found?.state === 'dead' && (await jobs.revive(job, id))) return key
    if (!(await isStillWanted())) return null
  }
  throw new PARAPET_SECRETS_KEY_ROTATION_FAILED(name, 'enqueue')
}

/** The error of the last attempt; `null`: there is none of these jobs. */
export async function findJobError(
  jobs: Jobs,
  job: string,
  keys: JobKeys,
): Promise<{ readonly error: string | undefined } | null> {
  let last: { readonly error: string | undefined } | null = null
  for (let attempt = 1; attempt <= MAX_ATTEMPTS; attempt++) {
    const found = await jobs.find(job, keyAt(keys, attempt))
    if (found === null) break
    last = { error: found.state === 'done' ? undefined : found.error }
  }
  return last
}
