/** The policy that decisions use. */
import type { Engine } from './engine.ts'

/** The policy that is in force in this instance. */
export interface PolicyInForce {
  readonly engine: Engine
  /** Differs after every change of the policy or of a grant. */
  readonly version: number
  /** Whether the policy store was out of contact for too long. */
  readonly stale: boolean
  /** Returns the roles that a principal has for a limited time; `undefined`: none. */
  grantedTo(principalId: string): readonly string[] | undefined
  /**
   * Returns when time alone changes `stale`, or the roles that a principal has for a limited time, in
   * milliseconds since the Unix epoch; `Infinity`: never.
   */
  nextChange(principalId: string, now: number): number
}
