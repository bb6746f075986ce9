/** What a candidate policy sees of the decisions of the policy in force. */
import type { Principal } from '@parapet/kit'
import type { DecisionContext } from '../conditions/context.ts'
import type { Decision } from './reasons.ts'
import type { RuleNode } from './route-rule.ts'

/** One decision, as the policy in force made it. */
export interface ShadowedDecision {
  readonly principal: Principal
  /** Roles for a limited time. */
  readonly granted: readonly string[] | undefined
  readonly node: RuleNode
  readonly permissions: readonly string[]
  readonly context: DecisionContext
  readonly decision: Decision
}

/** Receives decisions. It never throws. */
export interface DecisionObserver {
  observe(decided: ShadowedDecision): void
}
