/** Replaces an API key in steps that survive crashes: the state is in the store of the key itself. */
import { systemClock } from '@parapet/kit'
import { PARAPET_SECRETS_CONFLICT, PARAPET_SECRETS_KEY_ROTATION_FAILED } from '../errors.ts'
import type { Secret } from '../value/secret.ts'
import type { ApiKeyRotationOptions } from './api-key-options.ts'
import { NEXT, takeStep } from './api-key-steps.ts'
import { readKeyState, writeKeyState, type KeyState, type RotationStep } from './key-state.ts'
import {
  beginKeys,
  ensureJob,
  findJobError,
  resumeKeys,
  retireKeys,
  type RotationJob,
} from './rotation-job.ts'

/** Where a rotation stands. */
export interface ApiKeyStatus {
  /** `idle`: none runs. Otherwise the last step that was done: both keys work. */
  readonly step: RotationStep
  readonly rotationId: string | undefined
  /** When that step was done, in milliseconds since the epoch. */
  readonly since: number | undefined
  /** Of the job, if its last attempt failed. */
  readonly error: string | undefined
}

/** Rotates one key. */
export interface ApiKeyRotation {
  /** Begins a rotation, or resumes the one that is under way. @returns its id */
  rotate(): Promise<string>
  status(): Promise<ApiKeyStatus>
}

/** Another instance may be one step ahead each time. */
const MAX_STEPS = 32

/**
 * Rotates an API key: generate → store (check-and-set) → update the service that checks it → verify → make it
 * current → retire the old one after `graceMs`. Each step is recorded in the store when it is done; a crash
 * repeats at most one step. If a step fails, both keys work, the job tries again, and `status` says where
 * it stands. Call it once for each key on every instance, before `jobs.start()`.
 */
export function rotateApiKeys(options: ApiKeyRotationOptions): ApiKeyRotation {
  const { name, provider, path, jobs, graceMs = 3_600_000 } = options
  const job = `secrets.rotate.${name.toLowerCase().replaceAll(/[^a-z0-9._-]/g, '-')}`
  const queue = { jobs, job, name }
  const retireLater = (rotationId: string, at: number): Promise<string | null> =>
    ensureJob(queue, retireKeys(rotationId), () => ({ rotationId, phase: 'retire' }), at)
  jobs.define<RotationJob>(
    job,
    async ({ data, signal }) => {
      const retireAt = await advance(options, data, signal)
      if (retireAt !== null) await retireLater(data.rotationId, retireAt)
    },
    { retries: 20, backoffMs: 2000, timeoutMs: 300_000 },
  )
  return {
    async rotate() {
      const { state, version } = await readKeyState(provider, path)
      if (state.step === 'idle') {
        // Two instances that begin at the same time read the same version, and make one job.
        const keys = beginKeys(`${name}:${version ?? 'none'}`)
        const isStillWanted = async (): Promise<boolean> =>
          (await readKeyState(provider, path)).version === version
        const begun = await ensureJob(queue, keys, begin, undefined, isStillWanted)
        // Otherwise another call began one meanwhile.
        return begun ?? (await readKeyState(provider, path)).state.rotationId ?? keys.first
      }
      const rotationId = state.rotationId!
      if (state.step === 'promoted') await retireLater(rotationId, (state.since ?? 0) + graceMs)
      else await ensureJob(queue, resumeKeys(rotationId), () => ({ rotationId, phase: 'resume' }))
      return rotationId
    },
    status: () => readStatus(options, job),
  }
}

async function readStatus(
  { name, provider, path, jobs }: ApiKeyRotationOptions,
  job: string,
): Promise<ApiKeyStatus> {
  const { state, version } = await readKeyState(provider, path)
  const { step, rotationId, since } = state
  const begun = step === 'idle' ? `${name}:${version ?? 'none'}` : rotationId!
  const retiring = step === 'promoted' ? await findJobError(jobs, job, retireKeys(begun)) : null
  const keys = step === 'idle' ? beginKeys(begun) : resumeKeys(begun)
  const found = retiring ?? (await findJobError(jobs, job, keys))
  return { step, rotationId, since, error: found?.error }
}

const begin = (key: string): RotationJob => ({ rotationId: key, phase: 'begin' })

/** Does what is left of a rotation. @returns when the old key is to be retired; `null`: all is done */
async function advance(
  options: ApiKeyRotationOptions,
  { rotationId, phase }: RotationJob,
  signal: AbortSignal,
): Promise<number | null> {
  const { name, provider, path, reports, graceMs = 3_600_000, clock = systemClock } = options
  for (let count = 0; count < MAX_STEPS; count++) {
    signal.throwIfAborted()
    const { state, version, others } = await readKeyState(provider, path)
    if (!isDuty(state, { rotationId, phase })) return null
    reports?.keys(name, keysOf(state))
    // A job that retires is due by the clock of the jobs, which this one may be behind.
    if (state.step === 'promoted' && state.previous !== undefined && phase !== 'retire') {
      const retireAt = state.since! + graceMs
      if (clock.now() < retireAt) return retireAt
    }
    try {
      const next = { ...(await takeStep(options, state, rotationId)), rotationId }
      reports?.keys(name, [...keysOf(state), ...keysOf(next)])
      await writeKeyState(provider, path, { ...next, since: clock.now() }, { version, others })
      reports?.rotationAdvanced(name, rotationId, next.step === 'idle' ? 'retired' : next.step)
      if (next.step === 'promoted') {
        options.onRotated?.(name, rotationId, graceMs)
        reports?.rotated(name, rotationId, graceMs)
      }
    } catch (error) {
      // Another instance did the step; its state is read again.
      if (error instanceof PARAPET_SECRETS_CONFLICT) continue
      options.onFailed?.(name, state.step, error)
      reports?.rotationFailed(name, NEXT[state.step], error)
      throw new PARAPET_SECRETS_KEY_ROTATION_FAILED(name, NEXT[state.step], { cause: error })
    }
  }
  throw new PARAPET_SECRETS_KEY_ROTATION_FAILED(name, 'store')
}

/** Whether something is left to do for this job, and not for another rotation. */
function isDuty(state: KeyState, { rotationId, phase }: RotationJob): boolean {
  if (state.step === 'idle') return phase === 'begin' && state.rotationId !== rotationId
  return state.rotationId === rotationId && (phase !== 'retire' || state.step === 'promoted')
}

function keysOf({ current, next, previous }: KeyState): Secret[] {
  return [current, next, previous].filter((key) => key !== undefined)
}
