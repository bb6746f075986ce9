/**
 * Tells the other instances about signals that are rare and decide, such as failed logins: an attack that is
 * spread over instances reaches the same limit. It waits for nothing, and while the store is down each instance
 * counts for itself.
 */
import { followSharedState, uuidV7, type Clock, type Store } from '@parapet/kit'
import type { Signal } from './signal.ts'

/** See {@link shareSignals}. */
export interface SignalSharingSettings {
  readonly store: Store
  readonly clock: Clock
  /** Time of the signals, see `Signal.atMs`. */
  readonly tick: () => number
  readonly receive: (signal: Signal) => void
  readonly onError: (error: unknown, what: string) => void
}

/** Shares signals. */
export interface SignalSharing {
  start(): Promise<void>
  stop(): Promise<void>
  /** Sends a signal with the next batch. Beyond 500 in a batch, signals stay local. */
  send(signal: Signal): void
}

const CHANNEL = 'anomaly-guard:signals'
const FLUSH_MS = 25
const MAX_BATCH = 500
const MAX_MESSAGE = 1_000_000
/** Too many of these to tell every instance about each. */
const LOCAL = new Set(['request', 'resource', 'file'])
const ORIGINS = new Set<unknown>(['allowed', 'cross-site'])
const MEMBERS = [
  'address',
  'principalId',
  'sessionId',
  'account',
  'secret',
  'route',
  'resource',
] as const

/** Creates the sharing of one instance. */
export function shareSignals(settings: SignalSharingSettings): SignalSharing {
  const { store, clock, tick, receive, onError } = settings
  const instance = uuidV7()
  let batch: Signal[] = []
  let cancel: (() => void) | undefined

  const shared = followSharedState({
    store,
    clock,
    channel: CHANNEL,
    // What was missed is gone: a window is no state to be read again.
    load: () => Promise.resolve(),
    receive: (text) => {
      for (const signal of readBatch(text, instance)) {
        receive({ ...signal, atMs: tick(), isForeign: true })
      }
    },
    onError: (error) => onError(error, 'receive signals'),
  })
  const flush = (): void => {
    cancel = undefined
    const signals = batch
    batch = []
    store
      .publish(CHANNEL, JSON.stringify({ instance, signals }))
      .catch((error: unknown) => onError(error, 'share signals'))
  }
  return {
    start: () => shared.start(),
    async stop() {
      cancel?.()
      await shared.stop()
    },
    send(signal) {
      if (LOCAL.has(signal.name) || batch.length >= MAX_BATCH) return
      batch.push(signal)
      cancel ??= clock.schedule(FLUSH_MS, flush)
    },
  }
}

function readBatch(text: string, instance: string): Omit<Signal, 'atMs'>[] {
  if (text.length > MAX_MESSAGE) return []
  try {
    const batch = JSON.parse(text) as { readonly instance?: unknown; readonly signals?: unknown }
    if (batch.instance === instance || !Array.isArray(batch.signals)) return []
    return batch.signals.slice(0, MAX_BATCH).flatMap(readSignal)
  } catch {
    return []
  }
}

function readSignal(value: unknown): Omit<Signal, 'atMs'>[] {
  const source = (value ?? {}) as Readonly<Record<string, unknown>>
  const { name, address } = source
  if (typeof name !== 'string' || typeof address !== 'string') return []
  const signal: Record<string, unknown> = { name, address }
  for (const member of MEMBERS) {
    if (typeof source[member] === 'string') signal[member] = source[member]
  }
  if (Number.isFinite(source['amount'])) signal['amount'] = source['amount']
  if (ORIGINS.has(source['origin'])) signal['origin'] = source['origin']
  return [signal as unknown as Omit<Signal, 'atMs'>]
}
