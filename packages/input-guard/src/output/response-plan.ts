/** Reads from schemas of responses which members they declare, and which must not be sent. */
import { combinedBy, isNode, type ResolveRef, type SchemaNode } from '../validation/schema-tools.ts'

/** What a schema declares of one value. */
export interface ResponsePlan {
  readonly members: Map<string, ResponsePlan>
  /** Whether other members may be sent. */
  isOpen: boolean
  /** Members with `writeOnly`. @see OpenAPI 3.1, section 4.8.24 */
  readonly hidden: Set<string>
  /** Members by `patternProperties`, and last those of `additionalProperties`; `undefined`: must not be sent. */
  readonly patterns: { readonly pattern: RegExp; readonly plan: ResponsePlan | undefined }[]
  /** Items by their place. */
  readonly tuple: ResponsePlan[]
  /** Every other item. */
  items: ResponsePlan | undefined
  /** Whether this value or one below has hidden members. */
  hidesSomething: boolean
  /** Names that were reported. Clients may invent names, so their number is limited. */
  readonly reported: Set<string>
}

const EVERY_NAME = /^/

/** Reads a schema. Branches of `allOf`, `anyOf`, `oneOf` and `if` are merged; what one of them hides is hidden. */
export function compileResponsePlan(schema: SchemaNode, resolve: ResolveRef): ResponsePlan {
  const known = new Map<SchemaNode, ResponsePlan>()
  const plan = planOf([schema, schema], resolve, known)
  // References may be circular, so the mark is carried towards the root until nothing changes.
  while (spread([...known.values()]));
  return plan
}

/** Whether a schema says nothing of the members of a value, as that of a text or of any value. */
export function allowsEverything(plan: ResponsePlan): boolean {
  const { members, isOpen, hidden, patterns, tuple, items, hidesSomething } = plan
  const declared = members.size + hidden.size + patterns.length + tuple.length
  return isOpen && declared === 0 && items === undefined && !hidesSomething
}

function spread(plans: readonly ResponsePlan[]): boolean {
  let hasChanged = false
  for (const plan of plans) {
    const { members, patterns, tuple, items } = plan
    const inner = [...members.values(), ...patterns.map((each) => each.plan), ...tuple, items]
    if (plan.hidesSomething || !inner.some((each) => each?.hidesSomething === true)) continue
    plan.hidesSomething = hasChanged = true
  }
  return hasChanged
}

type Place = readonly [node: SchemaNode, root: SchemaNode]

function planOf(
  place: Place,
  resolve: ResolveRef,
  known: Map<SchemaNode, ResponsePlan>,
): ResponsePlan {
  const found = known.get(place[0])
  if (found !== undefined) return found
  const plan: ResponsePlan = {
    members: new Map(),
    isOpen: false,
    hidden: new Set(),
    patterns: [],
    tuple: [],
    items: undefined,
    hidesSomething: false,
    reported: new Set(),
  }
  known.set(place[0], plan)
  for (const each of branchesOf(place, resolve)) fill(plan, each, resolve, known)
  // Patterns that hide come first.
  plan.patterns.sort((a, b) => Number(a.plan !== undefined) - Number(b.plan !== undefined))
  return plan
}

/** A schema with all that it combines, also by `if`. */
function branchesOf(place: Place, resolve: ResolveRef): Place[] {
  const seen = new Map<SchemaNode, Place>()
  const rest: Place[] = [place]
  for (let next = rest.pop(); next !== undefined; next = rest.pop()) {
    for (const each of combinedBy(next[0], next[1], resolve)) {
      if (seen.has(each[0])) continue
      seen.set(each[0], each)
      for (const key of ['if', 'then', 'else']) {
        const inner = each[0][key]
        if (isNode(inner)) rest.push([inner, each[1]])
      }
    }
  }
  return [...seen.values()]
}

function fill(
  plan: ResponsePlan,
  [node, root]: Place,
  resolve: ResolveRef,
  known: Map<SchemaNode, ResponsePlan>,
): void {
  const { properties, items, additionalProperties, patternProperties } = node
  const inner = (schema: SchemaNode) => {
    const isHidden = branchesOf([schema, root], resolve).some(
      ([each]) => each['writeOnly'] === true,
    )
    if (isHidden) plan.hidesSomething = true
    return isHidden ? undefined : planOf([schema, root], resolve, known)
  }
  for (const [name, member] of entriesOf(properties)) {
    const found = inner(member)
    if (found === undefined) plan.hidden.add(name)
    else plan.members.set(name, found)
  }
  for (const [pattern, member] of entriesOf(patternProperties)) {
    plan.patterns.push({ pattern: new RegExp(pattern, 'u'), plan: inner(member) })
  }
  if (isNode(additionalProperties)) {
    plan.patterns.push({ pattern: EVERY_NAME, plan: inner(additionalProperties) })
  }
  if (additionalProperties === true || isFree(node)) plan.isOpen = true
  for (const list of [items, node['prefixItems']]) {
    if (!Array.isArray(list)) continue
    list.forEach((each, at) => {
      if (isNode(each)) plan.tuple[at] ??= planOf([each, root], resolve, known)
    })
  }
  const others = isNode(items) ? items : node['additionalItems']
  if (isNode(others)) plan.items ??= planOf([others, root], resolve, known)
}

/** Whether a schema says nothing of members. */
function isFree(node: SchemaNode): boolean {
  const keys = ['properties', 'additionalProperties', '$ref', 'allOf', 'anyOf', 'oneOf', 'then']
  return keys.every((key) => node[key] === undefined)
}

function entriesOf(schemas: unknown): [string, SchemaNode][] {
  if (!isNode(schemas)) return []
  return Object.entries(schemas).filter((entry): entry is [string, SchemaNode] => isNode(entry[1]))
}
