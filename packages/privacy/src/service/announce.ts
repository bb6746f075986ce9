/** Tells a subject that its erasure begins, while its address is known. */
import type { RequestBody } from '../requests/request.ts'
import { withMessage } from '../requests/request.ts'
import type { PrivacyContext } from './context.ts'
import { release } from './lease.ts'
import { dispatchMessages, sealMessage, sendMessage } from './outbox.ts'

/**
 * Sends the announcement once.
 *
 * @returns `false`: it waits. The erasure goes on when a job has sent it, or has given it up.
 */
export async function announceErasure(
  context: PrivacyContext,
  { id, type, leaseUntil }: RequestBody,
  subject: string,
): Promise<boolean> {
  const { requests, onError } = context
  const message = await sealMessage(context, { kind: 'running', subject, type, requestId: id })
  if (message === undefined) return true
  let isNew = false
  const body = await requests.change(id, (current) => {
    const isUntold = current.announcement === undefined && !hasBegun(current)
    isNew = isUntold && current.state === 'running'
    return isNew ? { ...withMessage(current, message), announcement: message.id } : null
  })
  if (!isWaiting(body)) return true
  if (isNew) {
    try {
      await sendMessage(context, { request: id, message: message.id })
      return true
    } catch (error) {
      onError(error, 'privacy announces an erasure later: the message could not be sent')
    }
  }
  // First, so that the job finds it free.
  await release(context, id, leaseUntil)
  await dispatchMessages(context, body)
  return false
}

/** It began before announcements were stored. */
function hasBegun({ parts }: RequestBody): boolean {
  return parts.some(({ attempts }) => attempts > 0)
}

function isWaiting({ outbox = [], announcement }: RequestBody): boolean {
  return outbox.some(({ id }) => id === announcement)
}
