/** A candidate policy that decides beside the policy in force: differences are counted, nothing changes. */
import type { Engine } from '../decide/engine.ts'
import { questionsOf } from '../decide/find-related.ts'
import { decideNode, lookupsFor } from '../decide/rule-guard.ts'
import type { DecisionObserver, ShadowedDecision } from '../decide/shadowed-decision.ts'

/** Decisions that differ, of one rule and one set of roles. */
export interface ShadowDifference {
  readonly permissions: readonly string[]
  readonly roles: readonly string[]
  /** What the candidate does: it would allow, or refuse. */
  readonly change: 'allows' | 'refuses'
  readonly count: number
  /** The id of one principal. */
  readonly example: string
}

/** What a candidate would have changed since it was set. */
export interface ShadowReport {
  readonly policyDigest: string
  /** Milliseconds since the Unix epoch. */
  readonly since: number
  readonly decisions: number
  /** Decisions that need a fact or a relation which the policy in force did not look up. */
  readonly undecided: number
  /** At most 500, those of the most decisions first. */
  readonly differences: readonly ShadowDifference[]
  /** Decisions that differ and are in no entry, because there were too many different ones. */
  readonly others: number
}

const MAX_DIFFERENCES = 500

/** Counts how a candidate decides. */
export class Shadow implements DecisionObserver {
  readonly #engine: Engine
  readonly #since: number
  readonly #differences = new Map<string, ShadowDifference>()
  #decisions = 0
  #undecided = 0
  #others = 0

  constructor(engine: Engine, since: number) {
    this.#engine = engine
    this.#since = since
  }

  /** Decides what the policy in force decided. */
  observe(decided: ShadowedDecision): void {
    this.#decisions++
    const { principal, granted, node, permissions, context, decision } = decided
    const rights = this.#engine.rightsOf(principal, granted)
    if (this.#needsMore(decided)) {
      this.#undecided++
      return
    }
    const { allowed } = decideNode(node, this.#engine, rights, context)
    if (allowed === decision.allowed) return
    const key = JSON.stringify([permissions, principal.roles, allowed])
    const known = this.#differences.get(key)
    if (known === undefined && this.#differences.size >= MAX_DIFFERENCES) this.#others++
    else {
      this.#differences.set(key, {
        permissions,
        roles: principal.roles,
        change: allowed ? 'allows' : 'refuses',
        count: (known?.count ?? 0) + 1,
        example: known?.example ?? principal.id,
      })
    }
  }

  #needsMore({ principal, granted, permissions, context }: ShadowedDecision): boolean {
    const rights = this.#engine.rightsOf(principal, granted)
    const lookups = lookupsFor(permissions, this.#engine, rights)
    if (lookups === null) return false
    const { facts, related } = context
    return (
      lookups.facts.some((name) => facts?.has(name) !== true) ||
      questionsOf(lookups.related, [context]).some(
        ({ plan, objectId }) => related?.knows?.(plan, objectId) !== true,
      )
    )
  }

  report(): ShadowReport {
    return {
      policyDigest: this.#engine.digest,
      since: this.#since,
      decisions: this.#decisions,
      undecided: this.#undecided,
      differences: [...this.#differences.values()].toSorted((a, b) => b.count - a.count),
      others: this.#others,
    }
  }
}
