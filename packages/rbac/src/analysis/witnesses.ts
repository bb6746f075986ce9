/** Differences between two policies, each with an example for which they decide differently. */
import type { Engine } from '../decide/engine.ts'
import { isConditional, rightOf, type Rights } from '../decide/rights.ts'
import { findExample, type Example } from './examples.ts'

/** A role that gains or loses a permission, and when. */
export interface Witness {
  readonly role: string
  readonly permission: string
  readonly change: 'gains' | 'loses'
  /** By attribute, as `resource.ownerId`: values for which both policies decide differently. */
  readonly example: Example
}

/** What the comparison of two policies by examples found. */
export interface WitnessReport {
  readonly witnesses: readonly Witness[]
  /**
   * Roles and permissions, as `editor content:write`, whose conditions have too many combinations to try
   * all: what is not in `witnesses` may still differ.
   */
  readonly incomplete: readonly string[]
}

/** The number of conditional rights that one report compares. */
const MAX_COMPARED = 2000

/** Compares the decisions of two policies for every declared role and permission. */
export function findWitnesses(before: Engine, after: Engine): WitnessReport {
  const witnesses: Witness[] = []
  const incomplete: string[] = []
  const roles = new Set([...before.model.roleNames, ...after.model.roleNames])
  const permissions = new Set([...before.permissionIds.keys(), ...after.permissionIds.keys()])
  let compared = 0
  for (const role of roles) {
    for (const permission of permissions) {
      const sides = [before, after].map((engine) => sideOf(engine, role, permission)) as [
        Side,
        Side,
      ]
      if (sides.every(({ right }) => right !== 'conditional')) {
        const isSame = sides[0].right === sides[1].right
        if (!isSame) witnesses.push(witnessOf(role, permission, sides[1].right === 'allow', {}))
        continue
      }
      if (compared++ >= MAX_COMPARED) {
        incomplete.push(`${role} ${permission}`)
        continue
      }
      for (const change of ['gains', 'loses'] as const) {
        const found = findExample(
          sides.flatMap(({ nodes }) => nodes),
          [role],
          (context) => {
            const [old, next] = sides.map(({ decide }) => decide(context))
            return old !== next && next === (change === 'gains')
          },
        )
        if (found.example !== undefined) {
          witnesses.push(witnessOf(role, permission, change === 'gains', found.example))
        } else if (!found.isComplete) incomplete.push(`${role} ${permission}`)
      }
    }
  }
  return { witnesses, incomplete: [...new Set(incomplete)] }
}

/** How one policy decides about a role and a permission. */
export interface Side {
  readonly right: 'allow' | 'conditional' | 'deny'
  readonly nodes: readonly Parameters<typeof findExample>[0][number][]
  readonly decide: (context: Parameters<Engine['decide']>[2]) => boolean
}

/** Returns how a policy decides. A role or a permission that it does not declare is denied. */
export function sideOf(engine: Engine, role: string, permission: string): Side {
  const id = engine.permissionIds.get(permission)
  if (id === undefined) return { right: 'deny', nodes: [], decide: () => false }
  const rights: Rights = engine.rightsOf({ id: '', roles: [role] })
  const rule = isConditional(rights, id) ? engine.ruleOf(rights, id) : undefined
  return {
    right: rightOf(rights, id),
    nodes: [...(rule?.grants ?? []), ...(rule?.denies ?? [])].map(({ node }) => node),
    decide: (context) => engine.decide(rights, id, context).allowed,
  }
}

function witnessOf(role: string, permission: string, isGain: boolean, example: Example): Witness {
  return { role, permission, change: isGain ? 'gains' : 'loses', example }
}
