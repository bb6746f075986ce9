/** Enumerates examples: a value for everything that conditions read. */
import { decimalText } from '../attributes/exact-values.ts'
import type { DecisionContext } from '../conditions/context.ts'
import type { Node } from '../conditions/nodes.ts'
import { domainsOf, type Domain, type RelationValue } from './domains.ts'

/** By name, as `resource.ownerId`: the value. Names that are missing have no value. */
export type Example = Readonly<Record<string, unknown>>

/** The result of a search for an example. */
export interface ExampleSearch {
  readonly example: Example | undefined
  /** Whether every combination was tried. If not, there may be an example that was not found. */
  readonly isComplete: boolean
}

/** The number of combinations that one search tries. */
const MAX_EXAMPLES = 10_000

/**
 * Searches an example.
 *
 * @param roles those of the principal.
 * @param accepts whether the example is the one that is searched for.
 */
export function findExample(
  nodes: readonly Node[],
  roles: readonly string[],
  accepts: (context: DecisionContext) => boolean,
): ExampleSearch {
  const domains = domainsOf(nodes)
  const total = domains.reduce((product, { values }) => product * values.length, 1)
  const isComplete = total <= MAX_EXAMPLES
  const random = createRandom()
  for (let index = 0; index < Math.min(total, MAX_EXAMPLES); index++) {
    const values = isComplete ? combination(domains, index) : sample(domains, random)
    if (accepts(contextOf(domains, values, roles))) {
      return { example: exampleOf(domains, values), isComplete }
    }
  }
  return { example: undefined, isComplete }
}

function combination(domains: readonly Domain[], index: number): unknown[] {
  let rest = index
  return domains.map(({ values }) => {
    const value = values[rest % values.length]
    rest = Math.floor(rest / values.length)
    return value
  })
}

function sample(domains: readonly Domain[], random: (below: number) => number): unknown[] {
  return domains.map(({ values }) => values[random(values.length)])
}

/** The same in every run, so that two analyses of one policy agree. */
function createRandom(): (below: number) => number {
  let state = 7
  return (below) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    return Math.floor((state / 2 ** 32) * below)
  }
}

function contextOf(
  domains: readonly Domain[],
  values: readonly unknown[],
  roles: readonly string[],
): DecisionContext {
  const roots: Record<string, Record<string, unknown>> = {}
  const related = new Map<string, RelationValue>()
  for (const [index, { name }] of domains.entries()) {
    if (name.startsWith('related ')) {
      related.set(name.slice('related '.length), values[index] as RelationValue)
      continue
    }
    const [root, ...path] = name.split('.') as [string, ...string[]]
    assign((roots[root] ??= {}), path, restore(values[index]))
  }
  const { time, ip, ...attributes } = roots['environment'] ?? {}
  const subject = roots['subject'] ?? {}
  return {
    principal: { id: '', ...subject, roles: (subject['roles'] as string[] | undefined) ?? roles },
    subject,
    resource: roots['resource'] ?? {},
    environment: { time: time as number, ip: ip as string | undefined, attributes },
    facts: new Map(Object.entries(roots['fact'] ?? {})),
    related: { of: ({ key, digest }) => related.get(key)?.answers.get(digest) ?? null },
  }
}

/** Decimals are compared as integers, and read as text. */
function restore(value: unknown): unknown {
  return typeof value === 'bigint' && value % DECIMAL_UNIT === 0n && value >= DECIMAL_UNIT
    ? decimalText(value)
    : value
}

const DECIMAL_UNIT = 10n ** 40n

function assign(target: Record<string, unknown>, [first, ...rest]: string[], value: unknown): void {
  if (rest.length === 0) {
    if (value !== undefined) target[first!] = value
    return
  }
  const inner = (target[first!] ??= {}) as Record<string, unknown>
  assign(inner, rest, value)
}

function exampleOf(domains: readonly Domain[], values: readonly unknown[]): Example {
  const entries = domains.flatMap(({ name }, index) =>
    values[index] === undefined ? [] : [[name, show(values[index])] as const],
  )
  return Object.fromEntries(entries)
}

/** As data of JSON; a relation for which two policies differ as its chain of tuples. */
function show(value: unknown): unknown {
  if (isRelationValue(value)) return value.chain ?? [...value.answers.values()][0]
  return typeof value === 'bigint' ? String(restore(value)) : value
}

function isRelationValue(value: unknown): value is RelationValue {
  return typeof value === 'object' && value !== null && 'answers' in value
}
