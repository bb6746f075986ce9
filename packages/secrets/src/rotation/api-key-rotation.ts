/** Replaces an API key in steps that survive crashes: the state is in the store of the key itself. */
import { randomBytes } from 'node:crypto'
import { systemClock, withDeadline, type Clock, type Jobs } from '@parapet/kit'
import {
  PARAPET_SECRETS_CONFLICT,
  PARAPET_SECRETS_KEY_ROTATION_FAILED,
  PARAPET_SECRETS_PROVIDER_TIMEOUT,
} from '../errors.ts'
import type { WritableProvider } from '../providers/provider.ts'
import { Secret } from '../value/secret.ts'
import { readKeyState, writeKeyState, type KeyState, type RotationStep } from './key-state.ts'

/** What {@link rotateApiKeys} takes. */
export interface ApiKeyRotationOptions {
  /** For jobs, events and messages; the service reads the key at `<path>#current`. */
  readonly name: string
  readonly provider: WritableProvider
  readonly path: string
  readonly jobs: Jobs
  /**
   * Makes a key. `rotationId` is the same after a crash: a service that makes keys itself takes it as
   * idempotency key. @default 32 random bytes, base64url
   */
  readonly generate?: (rotationId: string) => string | Promise<string>
  /** Makes the service that checks keys accept the new one beside the old one. It may run twice. */
  readonly update: (key: Secret, rotationId: string) => Promise<void>
  /** Uses the new key. If it rejects, the old one stays current. */
  readonly verify: (key: Secret, rotationId: string) => Promise<void>
  /** Makes the old key invalid. It may run twice. */
  readonly retire: (key: Secret, rotationId: string) => Promise<void>
  /** How long both keys work after the new one became current. @default 3 600 000 */
  readonly graceMs?: number
  /** How long a step may take. @default 30_000 */
  readonly stepDeadlineMs?: number
  readonly onRotated?: (name: string, version: string, graceMs: number) => void
  readonly onFailed?: (name: string, step: string, error: unknown) => void
  readonly clock?: Clock
}

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
  const { name, provider, path, jobs } = options
  const job = `secrets.rotate.${name.toLowerCase().replaceAll(/[^a-z0-9._-]/g, '-')}`
  jobs.define<{ rotationId: string }>(
    job,
    async ({ data, signal }) => {
      const retireAt = await advance(options, data.rotationId, signal)
      if (retireAt === null) return
      const key = `${data.rotationId}:retire`
      await jobs.enqueue(job, { rotationId: data.rotationId }, { key, at: retireAt })
    },
    { retries: 20, backoffMs: 2000, timeoutMs: 300_000 },
  )
  return {
    async rotate() {
      const { state, version } = await readKeyState(provider, path)
      // Two instances that begin at the same time read the same version, and make one job.
      const rotationId = state.step === 'idle' ? `${name}:${version ?? 'none'}` : state.rotationId!
      const keys = state.step === 'promoted' ? [`${rotationId}:retire`] : [rotationId]
      for (const key of keys) {
        const { id, isNew } = await jobs.enqueue(job, { rotationId }, { key })
        if (!isNew) await jobs.revive(job, id)
      }
      return rotationId
    },
    async status() {
      const { state } = await readKeyState(provider, path)
      const { step, rotationId, since } = state
      const found = rotationId === undefined ? null : await jobs.find(job, rotationId)
      return { step, rotationId, since, error: found?.state === 'done' ? undefined : found?.error }
    },
  }
}

/** Does what is left of a rotation. @returns when the old key is to be retired; `null`: all is done */
async function advance(
  options: ApiKeyRotationOptions,
  rotationId: string,
  signal: AbortSignal,
): Promise<number | null> {
  const { name, provider, path, graceMs = 3_600_000, clock = systemClock } = options
  for (let count = 0; count < MAX_STEPS; count++) {
    signal.throwIfAborted()
    const { state, version } = await readKeyState(provider, path)
    if (state.step === 'idle' && state.rotationId === rotationId) return null
    if (state.step !== 'idle' && state.rotationId !== rotationId) return null
    if (state.step === 'promoted' && state.previous !== undefined) {
      const retireAt = state.since! + graceMs
      if (clock.now() < retireAt) return retireAt
    }
    try {
      const next = await takeStep(options, state, rotationId)
      await writeKeyState(provider, path, { ...next, rotationId, since: clock.now() }, version)
      if (next.step === 'promoted') options.onRotated?.(name, rotationId, graceMs)
    } catch (error) {
      // Another instance did the step; its state is read again.
      if (error instanceof PARAPET_SECRETS_CONFLICT) continue
      options.onFailed?.(name, state.step, error)
      throw new PARAPET_SECRETS_KEY_ROTATION_FAILED(name, NEXT[state.step], { cause: error })
    }
  }
  throw new PARAPET_SECRETS_KEY_ROTATION_FAILED(name, 'store')
}

/** What is done after each step, for messages. */
const NEXT: Readonly<Record<RotationStep, string>> = {
  idle: 'store',
  stored: 'update',
  updated: 'verify',
  promoted: 'retire',
}

/** Does the step after the one that is recorded; it may have been done before a crash. */
async function takeStep(
  options: ApiKeyRotationOptions,
  state: KeyState,
  rotationId: string,
): Promise<KeyState> {
  const { current, next, previous } = state
  const within = <T>(work: Promise<T>): Promise<T> => withinStep(options, work)
  if (state.step === 'idle') {
    const generate = options.generate ?? (() => randomBytes(32).toString('base64url'))
    const made = await within(Promise.resolve(generate(rotationId)))
    return { step: 'stored', current, next: new Secret(made) }
  }
  if (state.step === 'stored') {
    await within(options.update(next!, rotationId))
    return { step: 'updated', current, next }
  }
  if (state.step === 'updated') {
    await within(options.verify(next!, rotationId))
    return { step: 'promoted', current: next, previous: current }
  }
  if (previous !== undefined) await within(options.retire(previous, rotationId))
  return { step: 'idle', current }
}

function withinStep<T>(
  { name, stepDeadlineMs = 30_000, clock = systemClock }: ApiKeyRotationOptions,
  work: Promise<T>,
): Promise<T> {
  const late = (): Error => new PARAPET_SECRETS_PROVIDER_TIMEOUT(name, stepDeadlineMs)
  return withDeadline(work, stepDeadlineMs, late, clock)
}
