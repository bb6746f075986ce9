/** Reports leaks once a minute for each secret and place: a secret in a line of every request is one fault. */
import { createEventFold, type Clock, type SecurityEvents } from '@parapet/kit'

const FOLD = { windowMs: 60_000, maxKeys: 1000, whenFull: 'evict' } as const

/** Where a secret was found. */
type LeakPlace = 'reply' | 'header' | 'log'

/** @param request that of the reply. */
export type ReportLeak = (
  secret: string,
  where: LeakPlace,
  request?: Parameters<SecurityEvents['emit']>[2],
) => void

/** Creates the reporter. */
export function createLeakReports(events: SecurityEvents, clock: Clock): ReportLeak {
  const fold = createEventFold(FOLD, clock)
  return (secret, where, request) => {
    const suppressed = fold(`${where} ${request?.routeOptions.url ?? ''} ${secret}`)
    if (suppressed === null) return
    events.emit('secrets.leak_stopped', { details: { secret, where, suppressed } }, request)
  }
}
