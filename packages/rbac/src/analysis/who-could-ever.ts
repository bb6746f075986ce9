/** Who could ever do something: by a role, under some condition, or after a role was delegated. */
import type { Engine } from '../decide/engine.ts'
import { findExample, type Example } from './examples.ts'
import { sideOf } from './witnesses.ts'

/** A role whose holders could do it. */
export interface PossibleHolder {
  readonly role: string
  /** `always`; `sometimes`: for the example; `unknown`: no example was found, but not all were tried. */
  readonly when: 'always' | 'sometimes' | 'unknown'
  /** Values for which it is allowed. */
  readonly example?: Example
  /**
   * Roles that lead to it by `delegation`, from `role` on: who has the first can grant the second, and so
   * on. Absent: the role itself has the permission.
   */
  readonly delegation?: readonly string[]
}

/** Returns every role that has a permission under some condition, and those that can get such a role. */
export function whoCouldEver(engine: Engine, permission: string): readonly PossibleHolder[] {
  const holders = engine.model.roleNames.flatMap((role) => holderOf(engine, role, permission))
  const direct = new Set(holders.map(({ role }) => role))
  const delegated = engine.model.roleNames
    .filter((role) => !direct.has(role))
    .flatMap((role): PossibleHolder[] => {
      const path = pathTo(engine, role, direct)
      const holder = holders.find((each) => each.role === path?.at(-1))
      return path === undefined || holder === undefined
        ? []
        : [{ ...holder, role, delegation: path }]
    })
  return [...holders, ...delegated]
}

function holderOf(engine: Engine, role: string, permission: string): PossibleHolder[] {
  const { right, nodes, decide } = sideOf(engine, role, permission)
  if (right === 'deny') return []
  if (right === 'allow') return [{ role, when: 'always' }]
  const { example, isComplete } = findExample(nodes, [role], decide)
  if (example !== undefined) return [{ role, when: 'sometimes', example }]
  return isComplete ? [] : [{ role, when: 'unknown' }]
}

/** Breadth first, so that the path is the shortest. Inherited roles delegate as well. */
function pathTo(
  { model: { policy } }: Engine,
  start: string,
  goals: ReadonlySet<string>,
): readonly string[] | undefined {
  const paths = new Map<string, readonly string[]>([[start, [start]]])
  for (const [role, path] of paths) {
    if (goals.has(role)) return path
    for (const next of delegatedBy(policy, role)) {
      if (!paths.has(next)) paths.set(next, [...path, next])
    }
  }
  return undefined
}

function delegatedBy(policy: Engine['model']['policy'], role: string): readonly string[] {
  const held = new Set([role])
  for (const each of held) for (const parent of policy.roles[each]!.inherits) held.add(parent)
  return [...held].flatMap((each) => policy.delegation?.[each] ?? [])
}
