/** The recurring job: what time alone brings about, and what a lost job has left. */
import type { JobRecord } from '@parapet/kit'
import { dueReminders } from '../requests/deadlines.ts'
import { inState, isLeased, isUnanswered, type RequestBody } from '../requests/request.ts'
import { endArchive } from './archive-link.ts'
import { jobNames, type PrivacyContext } from './context.ts'
import { emitClosed } from './open-request.ts'
import { tendMessages } from './outbox.ts'

/** How often the job runs. */
export const TICK_MS = 300_000
const PAGE = 200

/** Looks at every request that is not over. */
export async function tick(context: PrivacyContext, signal: AbortSignal): Promise<void> {
  let after: { time: number; id: string } | undefined
  for (;;) {
    signal.throwIfAborted()
    const filter = { topic: 'open', order: 'earliest', limit: PAGE } as const
    const page = await context.requests.list({ ...filter, ...(after && { after }) })
    for (const { body } of page) {
      try {
        await tend(context, body)
      } catch (error) {
        // One request that fails must not keep the others from their deadlines.
        context.onError(error, `privacy could not look after the request ${body.id}`)
      }
    }
    if (page.length < PAGE) return
    const { time, id } = page.at(-1)!
    after = { time, id }
  }
}

async function tend(context: PrivacyContext, body: RequestBody): Promise<void> {
  const now = context.clock.now()
  await tendMessages(context, body)
  if (isUnanswered(body.state)) await remind(context, body, now)
  switch (body.state) {
    case 'verifying':
      return expireUnconfirmed(context, body, now)
    case 'held':
      return resume(context, body)
    case 'running':
    case 'partial':
      return rerun(context, body, now)
    case 'ready':
      if ((body.archive?.expiresAt ?? 0) <= now) await endArchive(context, body)
      return
    case 'completed':
    case 'open':
    case 'rejected':
    case 'withdrawn':
    case 'expired':
      if (body.removeAt !== undefined && body.removeAt <= now) await rerun(context, body, now)
  }
}

async function remind(context: PrivacyContext, body: RequestBody, now: number): Promise<void> {
  const { id, type, dueAt } = body
  const due = dueReminders(body, now)
  if (due.length === 0) return
  // The event comes first: one that is emitted twice is better than one that is lost.
  const percent = Math.max(...due)
  context.emit('privacy.deadline_near', { request: id, type, percent, dueAt })
  await context.requests.change(id, (current) => ({
    ...current,
    reminded: [...new Set([...current.reminded, ...due])],
  }))
}

async function expireUnconfirmed(
  context: PrivacyContext,
  { id, confirmation }: RequestBody,
  now: number,
): Promise<void> {
  if (confirmation !== undefined && confirmation.expiresAt > now) return
  const body = await context.requests.change(id, (current) =>
    current.state === 'verifying'
      ? { ...inState(current, 'expired', { at: now, by: 'system' }), sealed: null }
      : null,
  )
  if (body.state === 'expired') emitClosed(context, body)
}

/** A held erasure goes on once no hold is left. */
async function resume(context: PrivacyContext, { id, reference }: RequestBody): Promise<void> {
  const { holds, requests, clock, jobs } = context
  if (await holds.isHeld(reference)) return
  const step = { at: clock.now(), by: 'system', reason: 'no legal hold is left' }
  await requests.change(id, (body) =>
    body.state === 'held' ? inState(body, 'running', step) : null,
  )
  await jobs.enqueue(jobNames.run, { id })
}

/** The key names the attempt, so that a job which waits already is not doubled. */
async function rerun({ jobs }: PrivacyContext, body: RequestBody, now: number): Promise<void> {
  if (isLeased(body, now)) return
  const { id } = body
  const key = `${id}:${Math.floor(now / TICK_MS)}`
  const waiting: JobRecord['state'] = 'waiting'
  const found = await jobs.find(jobNames.run, key)
  if (found?.state !== waiting) await jobs.enqueue(jobNames.run, { id }, { key })
}
