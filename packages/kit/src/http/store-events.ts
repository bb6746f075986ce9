/** The store's health as security events. */
import type { FastifyInstance } from 'fastify'
import { systemClock, type Clock } from '../time/clock.ts'
import { PARAPET_KIT_STORE_UNSAFE } from '../errors.ts'
import {
  useSecurityEvents,
  type SecurityEvents,
  type SecurityEventTable,
} from './security-events.ts'
import type { Store } from '../store/store.ts'

/** The events kit itself emits. */
export const kitEvents = {
  'kit.store_lost': {
    severity: 'high',
    outcome: 'failure',
    description:
      'The store stopped responding; each plugin does what its options say for that case',
  },
  'kit.store_recovered': {
    severity: 'info',
    outcome: 'success',
    description: 'The store responds again',
  },
  'kit.store_unsafe': {
    severity: 'high',
    outcome: 'unknown',
    description:
      'A setting of the store, or a missing right, may make it lose state or refuse calls',
  },
} as const satisfies SecurityEventTable

/** What {@link useStoreEvents} takes. */
export interface StoreEventsOptions {
  /** @default the machine's clock */
  readonly clock?: Clock
  /** Whether an unsafe store stops the boot. @default false: it is logged, and an event is emitted */
  readonly strict?: boolean
}

const watched = new WeakMap<SecurityEvents, WeakSet<Store>>()

/**
 * Emits `kit.store_lost` and `kit.store_recovered` for a store until the app closes, and inspects the
 * store when the app becomes ready: each risk is logged and emitted as `kit.store_unsafe`. Further
 * calls for the same store do nothing.
 *
 * @throws PARAPET_KIT_STORE_UNSAFE from `app.ready()`, with `strict`.
 */
export function useStoreEvents(
  app: FastifyInstance,
  store: Store,
  { clock = systemClock, strict = false }: StoreEventsOptions = {},
): void {
  const events = useSecurityEvents(app, kitEvents)
  const stores = watched.get(events) ?? new WeakSet()
  watched.set(events, stores)
  if (stores.has(store)) return
  stores.add(store)
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
  app.addHook('onReady', async () => {
    // A store that is down is reported by its state.
    const risks = await store.inspect().catch(() => [])
    for (const { kind, message } of risks) {
      app.log.warn({ risk: kind }, `The store is unsafe: ${message}.`)
      events.emit('kit.store_unsafe', { details: { risk: kind, message } })
    }
    const messages = risks.map(({ message }) => message)
    if (strict && messages.length > 0) throw new PARAPET_KIT_STORE_UNSAFE(messages.join('; '))
  })
  app.addHook('onClose', async () => stop())
}
