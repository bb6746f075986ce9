/** The lease of a request: one job at a time works on it. */
import { isSettled } from '../erasure/erase.ts'
import { inState, MAX_LEASE_MS } from '../requests/request.ts'
import { jobNames, type PrivacyContext } from './context.ts'

/** How long the job of one attempt may take. */
export const RUN_TIMEOUT_MS = 600_000
const FIRST_RETRY_MS = 60_000

/** Ends a lease. A later time is left alone: it is the next attempt's. */
export async function release(
  { requests }: PrivacyContext,
  id: string,
  leaseUntil: number,
): Promise<void> {
  await requests.change(id, (body) =>
    body.leaseUntil === leaseUntil ? { ...body, leaseUntil: 0 } : null,
  )
}

/** The next attempt waits longer after each failure, up to an hour. */
export async function retryLater(
  { requests, clock, jobs }: PrivacyContext,
  id: string,
): Promise<void> {
  const now = clock.now()
  let at = now
  let isRunning = false
  await requests.change(id, (body) => {
    isRunning = body.state === 'running'
    if (!isRunning) return null
    const attempts = Math.max(...body.parts.map((part) => (isSettled(part) ? 1 : part.attempts)))
    at = now + Math.min(FIRST_RETRY_MS * 2 ** (attempts - 1), MAX_LEASE_MS)
    return { ...inState(body, 'partial', { at: now, by: 'system' }), leaseUntil: at }
  })
  if (isRunning) await jobs.enqueue(jobNames.run, { id }, { at })
}
