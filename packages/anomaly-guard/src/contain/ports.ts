/** Measures that other plugins carry out: the options `tighten`, `stepUp` and `revoke`. */
import { withDeadline, type Clock } from '@parapet/kit'
import type { Containment, Target } from './containment.ts'

/** A single client: an IPv4 address or the first one of an IPv6 /64, or a principal. */
export type TightenedClient = { readonly ip: string } | { readonly principal: string }

/**
 * Lowers the limits of a client; `app.rateLimits.tighten` fits. Broader blocks of addresses are limited by the
 * guard itself.
 *
 * @param factor the share of the limit that is left; 1 ends the measure.
 */
export type Tighten = (client: TightenedClient, factor: number, ttlMs: number) => unknown

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
  /** Whether another plugin limits this tightened target; else the guard does it. */
  limitsElsewhere(target: Target): boolean
  /** @throws what the port throws, or an error after the deadline. */
  apply(containment: Containment): Promise<void>
  undo(containment: Containment): Promise<void>
}

const DEADLINE_MS = 5000
/** Limits take no time of 0. */
const SHORTEST_MS = 1
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
    limitsElsewhere: (target) => tighten !== undefined && clientOf(target) !== undefined,
    async apply({ kind, target, until, createdAt, factor = TIGHTEN_FACTOR, reason }) {
      const ttlMs = until - createdAt
      const { type, value } = target
      const client = clientOf(target)
      if (kind === 'tighten' && client !== undefined) {
        await call('tighten', () => tighten?.(client, factor, ttlMs))
      }
      if (type !== 'principal') return
      if (kind === 'step-up') await call('stepUp', () => stepUp?.(value, ttlMs))
      if (kind === 'revoke') await call('revoke', () => revoke?.(value, reason))
    },
    async undo({ kind, target }) {
      const { type, value } = target
      const client = clientOf(target)
      if (kind === 'tighten' && client !== undefined) {
        await call('tighten', () => tighten?.(client, 1, SHORTEST_MS))
      }
      if (kind === 'step-up' && type === 'principal') await call('stepUp', () => stepUp?.(value, 0))
    },
  }
}

/** @returns `undefined` for an account, the service, and a block of several clients. */
function clientOf({ type, value }: Target): TightenedClient | undefined {
  if (type === 'principal') return { principal: value }
  if (type !== 'address') return undefined
  const [ip = '', length] = value.split('/')
  return length === undefined || length === '64' ? { ip } : undefined
}
