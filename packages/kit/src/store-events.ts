/** The store's health as security events: whoever listens learns that the fleet lost its memory. */
import type { FastifyInstance } from 'fastify'
import { systemClock, type Clock } from './clock.ts'
import { useSecurityEvents, type SecurityEventTable } from './security-events.ts'
import type { Store } from './store.ts'

/** The events kit itself emits. */
export const kitEvents = {
  'kit.store_lost': {
    severity: 'high',
    outcome: 'failure',
    description: 'The store stopped answering; each plugin falls back to what its options say',
  },
  'kit.store_recovered': {
    severity: 'info',
    outcome: 'success',
    description: 'The store answers again',
  },
} as const satisfies SecurityEventTable

/** Emits `kit.store_lost` and `kit.store_recovered` for `store` until the app closes. */
export function useStoreEvents(
  app: FastifyInstance,
  store: Store,
  clock: Clock = systemClock,
): void {
  const events = useSecurityEvents(app, kitEvents)
  let lostAt: number | undefined
  const stop = store.onStateChange((state) => {
    if (state === 'open' && lostAt === undefined) {
      lostAt = clock.now()
      events.emit('kit.store_lost', { details: { reason: 'the circuit breaker opened' } })
    } else if (state === 'closed' && lostAt !== undefined) {
      events.emit('kit.store_recovered', { details: { downMs: clock.now() - lostAt } })
      lostAt = undefined
    }
  })
  app.addHook('onClose', async () => stop())
}
