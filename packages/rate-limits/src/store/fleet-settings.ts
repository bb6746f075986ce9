/** The settings of limits that a fleet shares. */
import type { Clock, RedisClientLike } from '@parapet/kit'
import type { ShareOf, StoreListener } from '../limits/store.ts'

/** What limits of a fleet need. */
export interface FleetSettings {
  readonly client: RedisClientLike
  readonly prefix: string
  readonly deadlineMs: number
  readonly maxKeys: number
  /** How long a block is answered from memory until Redis is asked again. */
  readonly recheckMs: number
  /** The number of instances until Redis has told it. */
  readonly instances: number
  /** Unique among the instances. */
  readonly instance: string
  readonly shareOf: ShareOf
  readonly clock: Clock
  /** Whether scripts get the time of `clock` in place of the server's. */
  readonly isClockInjected: boolean
  readonly listener: StoreListener
}
