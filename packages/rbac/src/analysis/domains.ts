/** The values that decide conditions: their constants, values beside them, and values that are neither. */
import { isExact, readerOf, type AttributeType, type Normal } from '../attributes/attributes.ts'
import type { Node, Reference, Term } from '../conditions/nodes.ts'
import { findChain } from '../relations/compare-plans.ts'
import type { RelationPlan } from '../relations/relation-plan.ts'

/** What one attribute, or one relation, can be in an example. */
export interface Domain {
  /** As `resource.ownerId`, or `related doc#viewer`. */
  readonly name: string
  readonly values: readonly unknown[]
}

const GENERIC: Readonly<Record<AttributeType, readonly Normal[]>> = {
  string: ['a', 'b'],
  enum: ['a', 'b'],
  number: [0, 1],
  bigint: [0n, 1n],
  decimal: [0n, 10n ** 40n],
  boolean: [true, false],
  time: [0, 1_767_225_600_000],
  'string[]': [[]],
  uuid: ['00000000-0000-4000-8000-000000000000', '00000000-0000-4000-8000-000000000001'],
  date: ['2026-01-01', '2026-01-02'],
}

/** What one relation is: the answer of each plan, and the chain of tuples for which plans differ. */
export interface RelationValue {
  /** By digest of the plan. */
  readonly answers: ReadonlyMap<string, boolean>
  /** As `doc#parent@folder, folder#viewer@user`; absent: the answers are the same. */
  readonly chain?: string
}

/** The values of the constants of one type, with those of attributes that they are compared with. */
interface Pools {
  readonly constants: Map<AttributeType, Set<unknown>>
  readonly references: Map<string, Reference>
  /** By name: the plans of the policies, by digest. */
  readonly relations: Map<string, Map<string, RelationPlan>>
  /** By attribute: values for tests that only know their own attribute. */
  readonly samples: Map<string, Set<unknown>>
}

/** Returns a domain for everything that the conditions read. */
export function domainsOf(nodes: readonly Node[]): readonly Domain[] {
  const pools: Pools = {
    constants: new Map(),
    references: new Map(),
    relations: new Map(),
    samples: new Map(),
  }
  for (const node of nodes) collect(node, pools)
  const attributes = [...pools.references].map(([name, { type }]) => ({
    name,
    values: valuesOf(name, type, pools),
  }))
  const relations = [...pools.relations].map(([key, plans]) => ({
    name: `related ${key}`,
    values: relationValues([...plans.values()]),
  }))
  return [...attributes, ...relations]
}

/** Plans of two policies can differ under one name, but only for chains of tuples that exist. */
function relationValues(plans: readonly RelationPlan[]): readonly RelationValue[] {
  const answers = (yes: (plan: RelationPlan) => boolean) =>
    new Map(plans.map((plan) => [plan.digest, yes(plan)]))
  const different = plans.flatMap((first) =>
    plans.flatMap((second) => {
      const chain = first === second ? undefined : findChain(first, second)
      return chain === undefined
        ? []
        : [{ answers: answers((plan) => plan === first), chain: chain.join(', ') }]
    }),
  )
  return [{ answers: answers(() => true) }, { answers: answers(() => false) }, ...different]
}

function collect(node: Node, pools: Pools): void {
  switch (node.op) {
    case 'and':
    case 'or':
      for (const part of node.of) collect(part, pools)
      return
    case 'not':
      collect(node.of, pools)
      return
    case 'value':
      return
    case 'exists':
      addTerm(node.left, pools)
      return
    case 'related':
      addTerm(node.left, pools)
      pools.relations.set(
        node.plan.key,
        (pools.relations.get(node.plan.key) ?? new Map<string, RelationPlan>()).set(
          node.plan.digest,
          node.plan,
        ),
      )
      return
    case 'test':
      addTerm(node.left, pools)
      for (const sample of node.samples)
        addTo(pools.samples, nameOf(node.left as Reference), sample)
      return
    case 'in':
    case 'sets':
    case 'prefix':
    case 'compare':
      addTerm(node.left, pools)
      addTerm(node.right, pools)
      addConstants(node.left, node.right, pools)
      addConstants(node.right, node.left, pools)
  }
}

function addTerm(term: Term, { references }: Pools): void {
  if (term.kind === 'ref') references.set(nameOf(term), term)
}

/** A constant list has members of the type of the other side. */
function addConstants(term: Term, other: Term, { constants }: Pools): void {
  if (term.kind !== 'literal') return
  const { value } = term
  const type = Array.isArray(value) && isExact(other.type) ? other.type : term.type
  const member = type === 'string[]' ? (other.type === 'number' ? 'number' : 'string') : type
  for (const each of Array.isArray(value) ? (value as readonly unknown[]) : [value]) {
    addTo(constants, member, each)
  }
}

function addTo<K>(map: Map<K, Set<unknown>>, key: K, value: unknown): void {
  const set = map.get(key)
  if (set === undefined) map.set(key, new Set([value]))
  else set.add(value)
}

/** Beside each constant; texts also below a path and after a prefix. */
function valuesOf(name: string, type: AttributeType, pools: Pools): readonly unknown[] {
  const constants = [...(pools.constants.get(type) ?? [])]
  const samples = [...(pools.samples.get(name) ?? [])]
  const generic = GENERIC[type]
  if (type === 'string[]') {
    const members = [...(pools.constants.get('string') ?? ['a'])]
    return [...generic, ...members.map((each) => [each]), members, undefined]
  }
  const values = [...constants, ...constants.flatMap(neighboursOf), ...samples, ...generic]
  const read = readerOf(type)
  const isReadable = (value: unknown): boolean => type === 'decimal' || read(value) !== undefined
  return [...new Set([...values.filter(isReadable), undefined])]
}

function neighboursOf(value: unknown): readonly unknown[] {
  if (typeof value === 'number') return [value - 1, value + 1]
  if (typeof value === 'bigint') return [value - 1n, value + 1n]
  return typeof value === 'string' ? [`${value}/a`] : []
}

/** The name of an attribute, as `resource.ownerId`. */
function nameOf({ root, name }: Reference): string {
  return `${root}.${name}`
}
