/** Bounds the requests by contact of one address, which need no login. */
import { clientKey, createMemoryStore } from '@parapet/kit'
import type { FastifyRequest } from 'fastify'
import { retryLater } from '../retry-later.ts'
import { callPort, type PrivacyContext } from '../service/context.ts'

const WINDOW_MS = 3_600_000

/**
 * Makes the check. It counts in the store of the fleet, or in memory. If the store is down, the request is
 * accepted: how many messages a subject gets is bounded besides.
 */
export function createContactLimit(
  context: PrivacyContext,
): (request: FastifyRequest) => Promise<void> {
  const { clock, settings, onError } = context
  const store = settings.store ?? createMemoryStore({ clock })
  const windows = [{ windowMs: WINDOW_MS, limit: settings.contactsPerHour }]
  return async ({ ip }) => {
    let waitMs: number
    try {
      const key = `privacy:contact:${clientKey(ip)}`
      const { counted, windows: readings } = await callPort(context, 'store', () =>
        store.count(key, windows),
      )
      if (counted) return
      waitMs = readings[0]!.retryAfterMs
    } catch (error) {
      onError(error, 'privacy could not count requests by contact; they are accepted')
      return
    }
    throw retryLater(waitMs)
  }
}
