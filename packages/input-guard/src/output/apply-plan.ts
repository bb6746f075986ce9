/** Compares responses with their schemas: reports members that are not declared, and leaves out hidden ones. */
import type { ResponsePlan } from './response-plan.ts'

/** Receives a JSON Pointer; indexes and names that are not declared one by one are `*`. */
export type ReportMember = (pointer: string) => void

/** Values are compared so deep. Where something is hidden, deeper values are left out. */
const [MAX_DEPTH, MAX_HIDING_DEPTH] = [32, 1000]
/** Items of an array that are compared; the serializer drops what the others have too much. */
const MAX_ITEMS = 20
const MAX_NAMES = 20
const MAX_NAME_LENGTH = 128

/** @returns the value itself, or a copy without hidden members */
export function applyResponsePlan(
  value: unknown,
  plan: ResponsePlan,
  report: ReportMember,
  pointer = '',
  depth = 0,
): unknown {
  if (typeof value !== 'object' || value === null) return value
  if (depth > MAX_DEPTH && !plan.hidesSomething) return value
  if (depth > MAX_HIDING_DEPTH) return undefined
  const { toJSON } = value as { toJSON?: unknown }
  if (typeof toJSON === 'function') {
    // A date or a document of an ORM is serialized in its own way.
    if (!plan.hidesSomething) return value
    const plain: unknown = toJSON.call(value, '')
    return applyResponsePlan(
      typeof plain === 'object' && plain !== null && 'toJSON' in plain ? { ...plain } : plain,
      plan,
      report,
      pointer,
      depth + 1,
    )
  }
  if (Array.isArray(value)) return applyToItems(value, plan, report, pointer, depth)
  return applyToMembers(value as Record<string, unknown>, plan, report, pointer, depth)
}

function applyToMembers(
  record: Readonly<Record<string, unknown>>,
  plan: ResponsePlan,
  report: ReportMember,
  pointer: string,
  depth: number,
): unknown {
  let copy: Record<string, unknown> | undefined
  for (const name of namesOf(record, plan)) {
    const pattern = plan.patterns.find((each) => each.pattern.test(name))
    const member = plan.members.get(name)
    const isHidden =
      plan.hidden.has(name) || (member === undefined && pattern !== undefined && !pattern.plan)
    if (isHidden) {
      delete (copy ??= copyOf(record, plan))[name]
      continue
    }
    const next = member ?? pattern?.plan
    const inner = record[name]
    if (next === undefined) {
      if (!plan.isOpen && inner !== undefined) report(`${pointer}/${shownName(plan, name)}`)
      continue
    }
    const place = member === undefined ? '*' : name
    const result = applyResponsePlan(inner, next, report, `${pointer}/${place}`, depth + 1)
    if (result !== inner) (copy ??= copyOf(record, plan))[name] = result
  }
  return copy ?? record
}

/** The serializer also reads declared members that are inherited: getters of a class. */
function namesOf(record: object, { members, hidden, hidesSomething }: ResponsePlan): string[] {
  const own = Object.keys(record)
  if (!hidesSomething || isPlain(record)) return own
  const declared = [...members.keys(), ...hidden].filter((name) => name in record)
  return [...new Set([...own, ...declared])]
}

function copyOf(record: object, plan: ResponsePlan): Record<string, unknown> {
  if (isPlain(record)) return { ...record }
  const names = namesOf(record, plan)
  return Object.fromEntries(
    names
      .filter((name) => !plan.hidden.has(name))
      .map((name) => [name, (record as Record<string, unknown>)[name]]),
  )
}

function isPlain(record: object): boolean {
  const prototype: unknown = Object.getPrototypeOf(record)
  return prototype === null || prototype === Object.prototype
}

function shownName({ reported }: ResponsePlan, name: string): string {
  if (reported.has(name)) return name
  if (reported.size >= MAX_NAMES || name.length > MAX_NAME_LENGTH) return '*'
  reported.add(name)
  return name
}

function applyToItems(
  value: readonly unknown[],
  { items, tuple, hidesSomething }: ResponsePlan,
  report: ReportMember,
  pointer: string,
  depth: number,
): unknown {
  if (items === undefined && tuple.length === 0) return value
  const apply = (each: unknown, at: number) => {
    const plan = tuple[at] ?? items
    if (plan === undefined) return each
    return applyResponsePlan(each, plan, report, `${pointer}/*`, depth + 1)
  }
  if (hidesSomething) return value.map(apply)
  value.slice(0, MAX_ITEMS).forEach(apply)
  return value
}
