/** Groups are no steps of CACAO: each step says in which groups it is. */
import { kindOf, type GroupStep, type PlaybookPhase, type Step } from '../playbooks/playbook.ts'

/** The place of a group in its list, and its title. */
export type GroupMark = readonly [index: number, title: string]

/** A step without its groups. */
export interface PlacedStep {
  readonly step: Step
  /** `null`: inside a branch. */
  readonly phase: PlaybookPhase | null
  readonly groups: readonly GroupMark[]
}

/** Takes the steps out of their groups. */
export function flatten(
  steps: readonly Step[],
  phase: PlaybookPhase | null,
  groups: readonly GroupMark[] = [],
): PlacedStep[] {
  return steps.flatMap((step, index) => {
    if (kindOf(step) !== 'group') return [{ step, phase, groups }]
    const [[title, inner] = ['', []]] = Object.entries(step as GroupStep)
    return flatten(inner, phase, [...groups, [index, title]])
  })
}

/** Puts the steps back into their groups. */
export function regroup(placed: readonly Omit<PlacedStep, 'phase'>[]): Step[] {
  const result: Step[] = []
  for (let index = 0; index < placed.length;) {
    const [mark, ...rest] = placed[index]!.groups
    if (mark === undefined) {
      result.push(placed[index++]!.step)
      continue
    }
    const inner = [{ step: placed[index]!.step, groups: rest }]
    while (++index < placed.length && isSame(placed[index]!.groups[0], mark)) {
      inner.push({ step: placed[index]!.step, groups: placed[index]!.groups.slice(1) })
    }
    result.push({ [mark[1]]: regroup(inner) })
  }
  return result
}

function isSame(a: GroupMark | undefined, b: GroupMark): boolean {
  return a !== undefined && a[0] === b[0] && a[1] === b[1]
}
