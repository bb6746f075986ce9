/** Deletes requests that ended long ago. The ledger and the marks of its entries stay. */
import type { Holds } from './holds.ts'
import type { RequestRepository } from './request-repository.ts'

/** A larger number is left to the next sweep, so that one sweep stays within its time. */
const MAX_SWEPT = 10_000
const PAGE = 200

/** Finds, and unless `dryRun` deletes, requests that ended before a time. A legal hold keeps them. */
export async function sweepRequests(
  { requests, holds }: { readonly requests: RequestRepository; readonly holds: Holds },
  { before, dryRun, signal }: { before: number; dryRun: boolean; signal: AbortSignal },
): Promise<{ found: number; removed: number }> {
  const swept = { found: 0, removed: 0 }
  let after: { readonly time: number; readonly id: string } | undefined
  for (;;) {
    const filter = { topic: 'closed', order: 'earliest', limit: PAGE } as const
    const page = await requests.list({ ...filter, ...(after && { after }) })
    for (const { id, time, body } of page) {
      signal.throwIfAborted()
      // The list is in the order in which requests were opened, and none ends before it was opened.
      if (time >= before || swept.found >= MAX_SWEPT) return swept
      if (body.history.at(-1)!.at >= before) continue
      swept.found += 1
      if (dryRun || (await holds.isHeld(body.reference))) continue
      if (await requests.remove(id)) swept.removed += 1
    }
    if (page.length < PAGE) return swept
    const { time, id } = page.at(-1)!
    after = { time, id }
  }
}
