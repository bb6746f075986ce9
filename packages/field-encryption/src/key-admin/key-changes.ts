/** Announces changed keys to the instances of a fleet, so that each drops them from its cache. */
import { followSharedState, type Clock, type Store } from '@parapet/kit'
import type { KeyScope } from '../key-ring/key-ring.ts'

/** The channel on which the scopes of changed keys are published. */
const CHANNEL = 'field-encryption:keys'
const RETRY_MS = 1000

/** What {@link followKeyChanges} needs. */
export interface KeyChangePorts {
  readonly store: Pick<Store, 'publish' | 'subscribe'>
  readonly clock: Clock
  /** Called with the scope of each change, those of this instance included. */
  readonly onChange: (scope: KeyScope) => void
  /** `false`: changes of other instances may be missed. */
  readonly onStateChange: (isCurrent: boolean) => void
  readonly warn: (fields: object, message: string) => void
}

/** Publishes and receives changes of keys. */
export interface KeyChanges {
  /** Subscribes. Resolves also if that fails; it is then retried. */
  start(): Promise<void>
  /** Publishes a change. Resolves also if that fails; it is then retried until it succeeds. */
  announce(scope: KeyScope): Promise<void>
  stop(): Promise<void>
}

/** Creates {@link KeyChanges}. */
export function followKeyChanges(ports: KeyChangePorts): KeyChanges {
  const { store, clock, onChange, onStateChange, warn } = ports
  const state = followSharedState({
    store,
    channel: CHANNEL,
    clock,
    retryMs: RETRY_MS,
    // There is nothing to load: keys are read from the key store when they are needed.
    load: async () => {},
    receive(message) {
      const { tenant, subject } = JSON.parse(message) as KeyScope
      onChange({ tenant, subject })
    },
    onStateChange,
    onError: (error) =>
      warn(
        { err: error },
        'field-encryption cannot exchange key changes with other instances and retries; ' +
          'until then keys of subjects are read from the key store. Check "store".',
      ),
  })
  return {
    start: () => state.start(),
    async announce(scope) {
      onChange(scope)
      try {
        await state.announce(JSON.stringify(scope))
      } catch (error) {
        warn(
          { err: error },
          'field-encryption could not announce a change of keys and retries. Check "store".',
        )
      }
    },
    stop: () => state.stop(),
  }
}
