/** Compares responses with their schemas: which members are not declared, and which must not be sent. */
import { isNode, type ResolveRef, type SchemaNode } from '../validation/schema-tools.ts'

/** What a schema declares of one value. */
export interface ResponsePlan {
  readonly members: Map<string, ResponsePlan>
  /** Whether other members may be sent. */
  isOpen: boolean
  /** Members with `writeOnly`. @see OpenAPI 3.1, section 4.8.24 */
  readonly hidden: Set<string>
  items: ResponsePlan | undefined
  /** Whether a value below has hidden members. */
  hidesSomething: boolean
}

const MAX_DEPTH = 32
/** Items of an array that are compared; the serializer drops what the others have too much. */
const MAX_ITEMS = 20

/** Reads a schema. Branches of `anyOf` and `oneOf` are merged. */
export function compileResponsePlan(schema: SchemaNode, resolve: ResolveRef): ResponsePlan {
  const known = new Map<SchemaNode, ResponsePlan>()
  const plan = planOf(schema, schema, resolve, known)
  for (let round = 0; round < MAX_DEPTH && spread([...known.values()]); round++);
  return plan
}

/** Carries the mark of hidden members towards the root; references may be circular. */
function spread(plans: readonly ResponsePlan[]): boolean {
  let hasChanged = false
  for (const plan of plans) {
    const inner = [...plan.members.values(), ...(plan.items === undefined ? [] : [plan.items])]
    if (plan.hidesSomething || !inner.some((each) => each.hidesSomething)) continue
    plan.hidesSomething = hasChanged = true
  }
  return hasChanged
}

function planOf(
  node: SchemaNode,
  root: SchemaNode,
  resolve: ResolveRef,
  known: Map<SchemaNode, ResponsePlan>,
): ResponsePlan {
  const found = known.get(node)
  if (found !== undefined) return found
  const plan: ResponsePlan = {
    members: new Map(),
    isOpen: false,
    hidden: new Set(),
    items: undefined,
    hidesSomething: false,
  }
  known.set(node, plan)
  fill(plan, node, root, resolve, known, new Set())
  return plan
}

function fill(
  plan: ResponsePlan,
  node: SchemaNode,
  root: SchemaNode,
  resolve: ResolveRef,
  known: Map<SchemaNode, ResponsePlan>,
  seen: Set<SchemaNode>,
): void {
  if (seen.has(node)) return
  seen.add(node)
  const { $ref, properties, items, additionalProperties, patternProperties } = node
  const target = typeof $ref === 'string' ? resolve($ref, root) : undefined
  if (target !== undefined) fill(plan, target[0], target[1], resolve, known, seen)
  const branches = ['allOf', 'anyOf', 'oneOf'].flatMap((key) => (node[key] ?? []) as unknown[])
  for (const each of branches) if (isNode(each)) fill(plan, each, root, resolve, known, seen)
  if (isNode(properties)) {
    for (const [name, member] of Object.entries(properties)) {
      if (!isNode(member)) continue
      if (member['writeOnly'] === true) {
        plan.hidden.add(name)
        plan.hidesSomething = true
      } else plan.members.set(name, planOf(member, root, resolve, known))
    }
  }
  if (isNode(items)) plan.items = planOf(items, root, resolve, known)
  const isCombined = target !== undefined || branches.length > 0
  const takesMore = isNode(additionalProperties) || additionalProperties === true
  if (takesMore || patternProperties !== undefined) plan.isOpen = true
  if (properties === undefined && additionalProperties === undefined && !isCombined) {
    plan.isOpen = true
  }
}

/**
 * Finds members that the schema does not declare, and removes hidden ones.
 *
 * @param report receives a JSON Pointer; indexes are `*`.
 * @returns the value itself, or a copy without hidden members
 */
export function applyResponsePlan(
  value: unknown,
  plan: ResponsePlan,
  report: (pointer: string) => void,
  pointer = '',
  depth = 0,
): unknown {
  if (typeof value !== 'object' || value === null || depth > MAX_DEPTH) return value
  if (Array.isArray(value)) return applyToItems(value, plan, report, pointer, depth)
  // A date or a document of an ORM is serialized in its own way.
  if (typeof (value as { toJSON?: unknown }).toJSON === 'function') return value
  const record = value as Record<string, unknown>
  let copy: Record<string, unknown> | undefined
  for (const name of Object.keys(record)) {
    const member = plan.members.get(name)
    if (member === undefined) {
      if (plan.hidden.has(name)) delete (copy ??= { ...record })[name]
      else if (!plan.isOpen && record[name] !== undefined) report(`${pointer}/${name}`)
      continue
    }
    const inner = record[name]
    if (typeof inner !== 'object' || inner === null) continue
    const next = applyResponsePlan(inner, member, report, `${pointer}/${name}`, depth + 1)
    if (next !== inner) (copy ??= { ...record })[name] = next
  }
  return copy ?? value
}

function applyToItems(
  value: readonly unknown[],
  { items }: ResponsePlan,
  report: (pointer: string) => void,
  pointer: string,
  depth: number,
): unknown {
  if (items === undefined) return value
  if (items.hidesSomething) {
    return value.map((each) => applyResponsePlan(each, items, report, `${pointer}/*`, depth + 1))
  }
  for (const each of value.slice(0, MAX_ITEMS)) {
    applyResponsePlan(each, items, report, `${pointer}/*`, depth + 1)
  }
  return value
}
