/** The steps of the rotation of an API key; each may run twice. */
import { randomBytes } from 'node:crypto'
import { systemClock, withDeadline } from '@parapet/kit'
import { PARAPET_SECRETS_PROVIDER_FAILED, PARAPET_SECRETS_PROVIDER_TIMEOUT } from '../errors.ts'
import { Secret } from '../value/secret.ts'
import type { ApiKeyRotationOptions } from './api-key-options.ts'
import type { KeyState, RotationStep } from './key-state.ts'

/** What is done after each step, for messages. */
export const NEXT: Readonly<Record<RotationStep, string>> = {
  idle: 'store',
  stored: 'update',
  updated: 'verify',
  promoted: 'retire',
}

/** Does the step after the one that is recorded; it may have been done before a crash. */
export async function takeStep(
  options: ApiKeyRotationOptions,
  state: KeyState,
  rotationId: string,
): Promise<KeyState> {
  const { name } = options
  const { current, next, previous } = state
  const within = <T>(work: Promise<T>): Promise<T> => withinStep(options, work)
  if (state.step === 'idle') {
    const generate = options.generate ?? (() => randomBytes(32).toString('base64url'))
    const made = await within(Promise.resolve(generate(rotationId)))
    return { step: 'stored', current, next: requireNewKey(made, name, current) }
  }
  if (state.step === 'stored') {
    await within(options.update(next!, rotationId))
    return { step: 'updated', current, next }
  }
  if (state.step === 'updated') {
    await within(options.verify(next!, rotationId))
    return { step: 'promoted', current: next, previous: current }
  }
  // Never the key that is in use.
  const isOld = previous !== undefined && current?.equals(previous) !== true
  if (isOld) await within(options.retire(previous, rotationId))
  return { step: 'idle', current }
}

/** An empty key opens nothing, and the current one would be retired as the old one. */
function requireNewKey(made: unknown, name: string, current: Secret | undefined): Secret {
  const isKey = typeof made === 'string' && made.trim() !== ''
  if (isKey && current?.equals(made) !== true) return new Secret(made)
  const reason = isKey ? 'it made the key that is current' : 'it must make a text that is not empty'
  throw new PARAPET_SECRETS_PROVIDER_FAILED(`"generate" of ${name}`, reason)
}

function withinStep<T>(
  { name, stepDeadlineMs = 30_000, clock = systemClock }: ApiKeyRotationOptions,
  work: Promise<T>,
): Promise<T> {
  const late = (): Error => new PARAPET_SECRETS_PROVIDER_TIMEOUT(name, stepDeadlineMs)
  return withDeadline(work, stepDeadlineMs, late, clock)
}
