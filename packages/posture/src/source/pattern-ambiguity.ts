/**
 * Whether a backtracking engine can need exponential time for a regular expression: whether a loop of it can
 * match one text in two ways, so that each further round doubles the ways.
 *
 * @see Weideman et al., "Analyzing Matching Time Behavior of Backtracking Regular Expression Matchers"
 *   (2016): exponential ambiguity (EDA) of an automaton
 */
import { readPattern, type Automaton } from './pattern-automaton.ts'

/** Pairs of positions that are compared at most; a pattern beyond it is not judged. */
const MAX_STEPS = 2_000_000

/** Whether a loop of the pattern is ambiguous: `(a+)+`, `(a|a)*`, `(?:\w|\d)+`. */
export function isExponential(pattern: string, flags = ''): boolean {
  const automaton = readPattern(pattern, flags)
  return automaton !== undefined && loopsOf(automaton).some((loop) => isAmbiguous(automaton, loop))
}

/** Sets of positions that reach each other. */
function loopsOf({ next }: Automaton): ReadonlySet<number>[] {
  const reached = next.map((_, start) => reach([start], (position) => next[position]!))
  const loops: ReadonlySet<number>[] = []
  const seen = new Set<number>()
  for (const [start, others] of reached.entries()) {
    if (seen.has(start)) continue
    const loop = new Set([...others].filter((other) => reached[other]!.has(start)))
    for (const position of loop) seen.add(position)
    if (loop.size > 0) loops.push(loop)
  }
  return loops
}

/** What is reached from the starts by one step or more. */
function reach<T>(starts: readonly T[], stepsOf: (from: T) => readonly T[]): Set<T> {
  const found = new Set<T>()
  const queue = [...starts]
  for (let from = queue.pop(); from !== undefined; from = queue.pop()) {
    for (const to of stepsOf(from)) {
      if (found.has(to)) continue
      found.add(to)
      queue.push(to)
    }
  }
  return found
}

function isAmbiguous({ matches, next }: Automaton, loop: ReadonlySet<number>): boolean {
  const inside = new Map(
    [...loop].map((position) => [position, next[position]!.filter((to) => loop.has(to))]),
  )
  // The same step, made possible twice, as by both loops of `(a+)+`.
  if ([...inside.values()].some((steps) => new Set(steps).size < steps.length)) return true
  // Two walks over one text: they part from one position, and meet again in one.
  const size = matches.length
  const backwards = new Map<number, number[]>()
  let left = MAX_STEPS
  const stepsOf = (pair: number): number[] => {
    const steps: number[] = []
    for (const one of inside.get(Math.floor(pair / size))!) {
      for (const other of inside.get(pair % size)!) {
        if (left-- <= 0) return []
        if (one !== other && !overlaps(matches[one]!, matches[other]!)) continue
        const to = one * size + other
        steps.push(to)
        const from = backwards.get(to)
        if (from === undefined) backwards.set(to, [pair])
        else from.push(pair)
      }
    }
    return steps
  }
  const together = [...loop].map((position) => position * size + position)
  const parted = reach(together, stepsOf)
  const meeting = reach(together, (pair) => backwards.get(pair) ?? [])
  const isApart = (pair: number): boolean => Math.floor(pair / size) !== pair % size
  return left > 0 && [...parted].some((pair) => isApart(pair) && meeting.has(pair))
}

function overlaps(one: ReadonlySet<string>, other: ReadonlySet<string>): boolean {
  for (const character of one) if (other.has(character)) return true
  return false
}
