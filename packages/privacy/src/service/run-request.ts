/** Runs a request in a job. Any attempt may be killed at any point; the next one goes on from what is stored. */
import { bounded } from '../bounded-call.ts'
import { PARAPET_PRIVACY_NOT_FOUND } from '../errors.ts'
import { isSettled, reasonOf, withPart } from '../erasure/erase.ts'
import { inState, isLeased, withMessage, type RequestBody } from '../requests/request.ts'
import type { RequestSecrets } from '../requests/request-repository.ts'
import { recordConsent } from './consent-changes.ts'
import type { PrivacyContext } from './context.ts'
import { release, retryLater, RUN_TIMEOUT_MS } from './lease.ts'
import { emitClosed } from './open-request.ts'
import { dispatchMessages, sealMessage } from './outbox.ts'
import { reportFailure } from './part-failures.ts'
import { runErasure, runRemoval } from './run-erasure.ts'
import { runExport } from './run-export.ts'

/** Runs the request, unless another job works on it. */
export async function runRequest(
  context: PrivacyContext,
  id: string,
  signal: AbortSignal,
): Promise<void> {
  const body = await acquire(context, id)
  if (body === null) return
  try {
    await runByType(context, body, signal)
  } finally {
    await release(context, id, body.leaseUntil)
  }
}

/** @returns `null`: there is nothing to do, or another job does it. */
async function acquire(
  { requests, clock }: PrivacyContext,
  id: string,
): Promise<RequestBody | null> {
  let isAcquired = false
  try {
    const body = await requests.change(id, (current) => {
      const now = clock.now()
      const isDue = current.removeAt !== undefined && current.removeAt <= now
      const isRunnable = current.state === 'running' || current.state === 'partial' || isDue
      isAcquired = isRunnable && !isLeased(current, now)
      if (!isAcquired) return null
      const leased = { ...current, leaseUntil: now + RUN_TIMEOUT_MS }
      return current.state === 'partial'
        ? inState(leased, 'running', { at: now, by: 'system' })
        : leased
    })
    return isAcquired ? body : null
  } catch (error) {
    // It was withdrawn and removed before its job ran.
    if (error instanceof PARAPET_PRIVACY_NOT_FOUND) return null
    throw error
  }
}

async function runByType(
  context: PrivacyContext,
  body: RequestBody,
  signal: AbortSignal,
): Promise<void> {
  const secrets = await context.requests.open(body)
  if (secrets === null) return
  if (body.removeAt !== undefined) return runRemoval(context, body, secrets, signal)
  switch (body.type) {
    case 'access':
    case 'portability':
      return runExport(context, body, secrets.subject, signal)
    case 'erasure':
      return runErasure(context, body, secrets, signal)
    case 'rectification':
      return runRectification(context, body, secrets, signal)
    case 'restriction':
      await context.holds.place('restriction', restrictionOf(secrets), body.id)
      return close(context, body, secrets)
    case 'objection':
      for (const purpose of secrets.details.purposes ?? []) {
        const decision = { subject: secrets.subject, purpose, by: 'objection' }
        await recordConsent(context, { ...decision, state: 'withdrawn' })
      }
      return close(context, body, secrets)
  }
}

/** Without the note of the subject: a hold is stored in clear, and outlives an erasure. */
function restrictionOf({ subject }: RequestSecrets) {
  return { subject, reason: 'request of the subject', basis: 'GDPR, article 18' }
}

async function close(
  context: PrivacyContext,
  { id, type }: RequestBody,
  { subject }: RequestSecrets,
): Promise<void> {
  const message = await sealMessage(context, { kind: 'completed', subject, type, requestId: id })
  const body = await context.requests.change(id, (current) => {
    const next = inState(current, 'completed', { at: context.clock.now(), by: 'system' })
    return withMessage({ ...next, sealed: null, leaseUntil: 0 }, message)
  })
  emitClosed(context, body)
  await dispatchMessages(context, body)
}

async function runRectification(
  context: PrivacyContext,
  { id, parts }: RequestBody,
  secrets: RequestSecrets,
  signal: AbortSignal,
): Promise<void> {
  const { requests, registry, clock, settings } = context
  const limits = { clock, deadlineMs: settings.partDeadlineMs }
  const { subject, details } = secrets
  for (const part of parts.filter((each) => !isSettled(each))) {
    const attempts = part.attempts + 1
    try {
      const rectify = registry.find(part.name)!.rectify!
      const changes = details.changes![part.name]!
      await bounded(limits, `The source "${part.name}"`, signal, (own) =>
        rectify(subject, changes, { signal: own }),
      )
      const done = { ...part, status: 'done', attempts, at: clock.now() } as const
      await requests.change(id, (body) => withPart(body, done))
    } catch (error) {
      if (signal.aborted) throw error
      const failed = { ...part, status: 'failed', attempts, error: reasonOf(error) } as const
      await requests.change(id, (body) => withPart(body, failed))
      reportFailure(context, { id, type: 'rectification' }, failed, error)
    }
  }
  const body = (await requests.find(id))!
  if (!body.parts.every(isSettled)) return retryLater(context, id)
  await close(context, body, secrets)
}
