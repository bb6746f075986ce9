/** What a privacy officer decides. */
import { PARAPET_PRIVACY_CONFLICT, PARAPET_PRIVACY_INVALID_ARGUMENT } from '../errors.ts'
import { addMonths } from '../requests/deadlines.ts'
import type { HoldBody, HoldRequest } from '../requests/holds.ts'
import {
  inState,
  isUnanswered,
  mayFollow,
  withMessage,
  type PendingMessage,
  type RequestBody,
} from '../requests/request.ts'
import { jobNames, type PrivacyContext, type SubjectMessage } from './context.ts'
import { emitClosed } from './open-request.ts'
import { dispatchMessages, sealMessage } from './outbox.ts'

/** The longest extension. @see GDPR, article 12(3) */
const MAX_EXTENSION_MONTHS = 2

/** Lets a request run that waits for it. @throws PARAPET_PRIVACY_NOT_FOUND, PARAPET_PRIVACY_CONFLICT */
export async function approveRequest(context: PrivacyContext, id: string): Promise<RequestBody> {
  const body = await context.requests.change(id, (current) => {
    if (current.state !== 'open') throw new PARAPET_PRIVACY_CONFLICT(current.state)
    return inState(current, 'running', { at: context.clock.now(), by: 'officer' })
  })
  await context.jobs.enqueue(jobNames.run, { id })
  return body
}

/** Tries the failed parts again at once. @throws as {@link approveRequest} */
export async function retryRequest(context: PrivacyContext, id: string): Promise<RequestBody> {
  const body = await context.requests.change(id, (current) => {
    if (current.state !== 'partial') throw new PARAPET_PRIVACY_CONFLICT(current.state)
    return { ...current, leaseUntil: 0 }
  })
  await context.jobs.enqueue(jobNames.run, { id })
  return body
}

/** Rejects a request, with a reason, which is sent to the subject. @throws as {@link approveRequest} */
export async function rejectRequest(
  context: PrivacyContext,
  id: string,
  reason: string,
  http?: unknown,
): Promise<RequestBody> {
  const { requests, clock } = context
  const message = await messageOf(context, id, { kind: 'rejected', reason })
  const body = await requests.change(id, (current) => {
    if (!mayFollow(current.state, 'rejected')) throw new PARAPET_PRIVACY_CONFLICT(current.state)
    const rejected = inState(current, 'rejected', { at: clock.now(), by: 'officer', reason })
    return withMessage({ ...rejected, sealed: null }, message)
  })
  emitClosed(context, body, http)
  await dispatchMessages(context, body)
  return body
}

/**
 * Extends the deadline once, by one or two months, while it has not passed.
 *
 * @throws PARAPET_PRIVACY_NOT_FOUND, PARAPET_PRIVACY_CONFLICT, PARAPET_PRIVACY_INVALID_ARGUMENT
 */
export async function extendRequest(
  context: PrivacyContext,
  id: string,
  { months, reason }: { readonly months: number; readonly reason: string },
): Promise<RequestBody> {
  const { requests, clock } = context
  if (!Number.isInteger(months) || months < 1 || months > MAX_EXTENSION_MONTHS) {
    throw new PARAPET_PRIVACY_INVALID_ARGUMENT('"months"', `must be 1 or ${MAX_EXTENSION_MONTHS}`)
  }
  const message = await messageOf(context, id, { kind: 'extended', reason }, 1 + months)
  const body = await requests.change(id, (current) => {
    const { state, openedAt, dueAt, extension } = current
    const at = clock.now()
    if (!isUnanswered(state) || extension !== undefined || dueAt <= at) {
      throw new PARAPET_PRIVACY_CONFLICT(state)
    }
    const extended = { ...current, dueAt: addMonths(openedAt, 1 + months), reminded: [] }
    const next = inState(extended, state, { at, by: 'officer', reason })
    return withMessage({ ...next, extension: { months, reason, at } }, message)
  })
  await dispatchMessages(context, body)
  return body
}

/** @param months of the new deadline. @default the deadline stays */
async function messageOf(
  context: PrivacyContext,
  id: string,
  message: Pick<SubjectMessage, 'kind' | 'reason'>,
  months?: number,
): Promise<PendingMessage | undefined> {
  const body = await context.requests.find(id)
  const subject = body && (await context.requests.open(body))?.subject
  if (!body || !subject) return undefined
  const expiresAt = months === undefined ? body.dueAt : addMonths(body.openedAt, months)
  return sealMessage(context, { ...message, subject, type: body.type, requestId: id, expiresAt })
}

/** Places a legal hold, which stops the erasures of a subject. */
export async function placeHold(
  { holds, emit }: PrivacyContext,
  request: HoldRequest,
  http?: unknown,
): Promise<HoldBody> {
  const hold = await holds.place('legal-hold', request)
  emit('privacy.hold_changed', { hold: hold.id, state: 'placed' }, http)
  return hold
}

/** Releases a hold; the erasures that it stopped go on. @returns `null`: there is none that is active. */
export async function releaseHold(
  { holds, emit, jobs }: PrivacyContext,
  id: string,
  reason: string,
  http?: unknown,
): Promise<HoldBody | null> {
  const hold = await holds.release(id, reason)
  if (hold === null) return null
  emit('privacy.hold_changed', { hold: id, state: 'released' }, http)
  await jobs.enqueue(jobNames.tick, {})
  return hold
}
