/** Measures that other plugins carry out: the options `tighten`, `stepUp` and `revoke`. */
import { withDeadline, type Clock } from '@parapet/kit'
import type { Containment } from './containment.ts'

/**
 * Lowers the limits of a client; `tighten` of `@parapet/rate-limits` fits.
 *
 * @param key `address:192.0.2.7` or `principal:u-1`.
 * @param factor the share of the limit that is left; 1 ends the measure.
 */
export type Tighten = (key: string, factor: number, ttlMs: number) => unknown

/** Requires a second factor of a principal for a while. @param ttlMs 0 ends the measure. */
export type StepUp = (principalId: string, ttlMs: number) => unknown

/** Ends all sessions of a principal. */
export type Revoke = (principalId: string, reason: string) => unknown

/** The ports that are set. */
export interface PortFunctions {
  readonly tighten?: Tighten | undefined
  readonly stepUp?: StepUp | undefined
  readonly revoke?: Revoke | undefined
}

/** Carries measures out. */
export interface ContainmentPorts {
  /** Whether another plugin limits tightened clients; else the guard does it. */
  readonly hasTighten: boolean
  /** @throws what the port throws, or an error after the deadline. */
  apply(containment: Containment): Promise<void>
  undo(containment: Containment): Promise<void>
}

const DEADLINE_MS = 5000
/** What a tightened client keeps of its limit. */
const TIGHTEN_FACTOR = 0.1

/** Wraps the ports: each call has a deadline. */
export function createPorts(functions: PortFunctions, clock: Clock): ContainmentPorts {
  const call = async (name: keyof PortFunctions, run: () => unknown): Promise<void> => {
    // A port that throws at once rejects as well.
    const answer = Promise.resolve().then(run)
    const late = () => new Error(`the option "${name}" did not answer within ${DEADLINE_MS} ms`)
    await withDeadline(answer, DEADLINE_MS, late, clock)
  }
  const { tighten, stepUp, revoke } = functions
  return {
    hasTighten: tighten !== undefined,
    async apply({ kind, target, until, createdAt, factor = TIGHTEN_FACTOR, reason }) {
      const ttlMs = until - createdAt
      const { type, value } = target
      if (type === 'account') return
      if (kind === 'tighten') {
        await call('tighten', () => tighten?.(`${type}:${value}`, factor, ttlMs))
      }
      if (type !== 'principal') return
      if (kind === 'step-up') await call('stepUp', () => stepUp?.(value, ttlMs))
      if (kind === 'revoke') await call('revoke', () => revoke?.(value, reason))
    },
    async undo({ kind, target: { type, value } }) {
      if (type === 'account') return
      if (kind === 'tighten') await call('tighten', () => tighten?.(`${type}:${value}`, 1, 0))
      if (kind === 'step-up' && type === 'principal') await call('stepUp', () => stepUp?.(value, 0))
    },
  }
}
