/** The analysis of policies in `app.rbac`. */
import { Shadow, type ShadowReport } from '../analysis/shadow.ts'
import { whoCouldEver, type PossibleHolder } from '../analysis/who-could-ever.ts'
import { findWitnesses, type WitnessReport } from '../analysis/witnesses.ts'
import { Engine } from '../decide/engine.ts'
import { PARAPET_RBAC_UNKNOWN_PERMISSION } from '../errors.ts'
import type { LivePolicy } from '../live/live-policy.ts'
import type { RbacSettings } from '../options.ts'
import { compilePolicy } from '../policy/compile-policy.ts'
import type { Permission, Policy } from '../policy/policy-types.ts'
import { readPolicy } from '../policy/read-policy.ts'
import type { Candidate } from './request-rbac.ts'

/** Questions about policies that no request has asked yet. */
export interface Analysis {
  /**
   * Returns every role that could have a permission: always, for an example of attributes, or because
   * another role delegates it.
   *
   * @throws PARAPET_RBAC_UNKNOWN_PERMISSION
   */
  whoCouldEver(permission: Permission): readonly PossibleHolder[]
  /**
   * Compares the policy in force with another one, by trying values for every attribute that conditions
   * read. Each difference has an example. It computes for up to seconds: call it in tests and tools.
   *
   * @throws PARAPET_RBAC_INVALID_POLICY
   */
  witnesses(next: Policy): WitnessReport
  /**
   * Lets a candidate decide beside the policy in force, in this instance: differences are counted, and
   * nothing else changes. `null` ends it.
   *
   * @throws PARAPET_RBAC_INVALID_POLICY
   */
  shadow(candidate: Policy | null): void
  /** Returns what the candidate would have changed; `null`: there is none. */
  shadowReport(): ShadowReport | null
}

/** Creates the analysis. */
export function createAnalysis({
  live,
  candidate,
  settings,
}: {
  readonly live: LivePolicy
  readonly candidate: Candidate
  readonly settings: RbacSettings
}): Analysis {
  return {
    whoCouldEver(permission) {
      if (!live.engine.permissionIds.has(permission)) {
        throw new PARAPET_RBAC_UNKNOWN_PERMISSION(permission)
      }
      return whoCouldEver(live.engine, permission)
    },
    witnesses: (next) => findWitnesses(live.engine, engineOf(next)),
    shadow(next) {
      candidate.shadow =
        next === null ? undefined : new Shadow(engineOf(next), settings.clock.now())
    },
    shadowReport: () => candidate.shadow?.report() ?? null,
  }
}

function engineOf(policy: Policy): Engine {
  return new Engine(compilePolicy(readPolicy(policy)))
}
