/**
 * The operators that build conditions. A condition is data: it can be compiled, explained, turned
 * into SQL and sent as JSON.
 *
 * If an attribute is missing, has another type or is text that cannot be read as an address or a
 * time, a comparison is unknown, as with NULL in SQL. A
 * grant applies only if its condition is true. A deny rule applies unless its condition is false.
 */
import { PARAPET_RBAC_INVALID_ARGUMENT } from '../errors.ts'
import type {
  Comparison,
  Condition,
  Constant,
  Operand,
  PairOperator,
  Ref,
  TimeWindow,
} from './condition.ts'

type Value<T> = T extends Date ? Date | string : T extends bigint ? bigint | number : T
/** A bigint can be compared with a string such as `subject.id`, which is read as a bigint. */
type Side<T> = Ref<T> | Value<T> | (T extends bigint ? Ref<string> : never)
type Ordered = number | bigint | Date

/** Both values are equal. */
export function eq<T extends string | number | bigint | boolean | Date>(
  left: Ref<T>,
  right: Side<NoInfer<T>>,
): Condition {
  return compare('eq', left, right)
}

/** The values differ. */
export function ne<T extends string | number | bigint | boolean | Date>(
  left: Ref<T>,
  right: Side<NoInfer<T>>,
): Condition {
  return compare('ne', left, right)
}

/** Less than. */
export function lt<T extends Ordered>(left: Ref<T>, right: Side<NoInfer<T>>): Condition {
  return compare('lt', left, right)
}

/** Less than or equal. */
export function lte<T extends Ordered>(left: Ref<T>, right: Side<NoInfer<T>>): Condition {
  return compare('lte', left, right)
}

/** Greater than. */
export function gt<T extends Ordered>(left: Ref<T>, right: Side<NoInfer<T>>): Condition {
  return compare('gt', left, right)
}

/** Greater than or equal. */
export function gte<T extends Ordered>(left: Ref<T>, right: Side<NoInfer<T>>): Condition {
  return compare('gte', left, right)
}

/** The time `left` is earlier than `right`. */
export function before(left: Ref<Date>, right: Side<Date>): Condition {
  return compare('lt', left, right)
}

/** The time `left` is later than `right`. */
export function after(left: Ref<Date>, right: Side<Date>): Condition {
  return compare('gt', left, right)
}

/** `left` is in the list `right`: constants, or an attribute of type `string[]`. */
export function isIn<T extends string | number | bigint>(
  left: Ref<T>,
  right: readonly Value<NoInfer<T>>[] | (T extends string ? Ref<readonly string[]> : never),
): Condition {
  return compare('in', left, right)
}

/** The list `left` contains `right`. */
export function has(left: Ref<readonly string[]>, right: Side<string>): Condition {
  return { op: 'in', left: operandOf(right), right: operandOf(left) }
}

type List = Ref<readonly string[]> | readonly string[]

/** The lists have at least one member in common. */
export function containsAny(left: Ref<readonly string[]>, right: List): Condition {
  return compare('containsAny', left, right)
}

/** The list `left` has every member of `right`. With an empty `right` this is true. */
export function containsAll(left: List, right: List): Condition {
  return compare('containsAll', left, right)
}

/** The text `left` starts with `right`, character by character. */
export function startsWith(left: Ref<string>, right: Side<string>): Condition {
  return compare('startsWith', left, right)
}

/** The path `left` is the path `right` or below it: `/a/b` is under `/a`, and `/ab` is not. */
export function isUnder(left: Ref<string>, right: Side<string>): Condition {
  return compare('under', left, right)
}

/**
 * Moves a time by a duration: `after(resource.createdAt, plus(environment.time, -86_400_000))`. It
 * cannot move an attribute of the resource: move the other side.
 *
 * @param durationMs whole milliseconds; negative: earlier.
 */
export function plus(time: Ref<Date>, durationMs: number): Ref<Date> {
  return { ref: time.ref, plusMs: durationMs + (time.plusMs ?? 0) }
}

/**
 * The principal has a relation to the object whose id is `object`: `related('doc#viewer',
 * resource.id)`. The relations are those of the option `relations`; `can` does not look them up, and
 * `authorize`, rules of routes, `list` and `loadFilter` do.
 *
 * @param relation a type and a relation that the policy declares under `relations`.
 */
export function related(relation: string, object: Ref<string> | Ref<bigint>): Condition {
  return { op: 'related', relation, left: operandOf(object) as Ref }
}

/** The attribute is present and has its declared type. This is true or false, never unknown. */
export function exists(left: Ref): Condition {
  return { op: 'exists', left: { ref: left.ref } }
}

/**
 * The IP address is in one of the CIDR blocks. It cannot test an attribute of the resource. A port is
 * ignored. An IPv4 address behind the prefix 64:ff9b::/96 of NAT64 counts as that IPv4 address.
 *
 * @see RFC 4632, RFC 6052
 */
export function cidr(left: Ref<string>, blocks: readonly string[]): Condition {
  return { op: 'cidr', left: { ref: left.ref }, blocks }
}

/**
 * The time is inside a window. It cannot test an attribute of the resource.
 *
 * @param window `days` defaults to all seven days and `timeZone` to `UTC`.
 */
export function during(
  left: Ref<Date>,
  window: Pick<TimeWindow, 'from' | 'until'> & Partial<TimeWindow>,
): Condition {
  return {
    op: 'during',
    left: { ref: left.ref },
    from: window.from,
    until: window.until,
    days: window.days ?? ['mon', 'tue', 'wed', 'thu', 'fri', 'sat', 'sun'],
    timeZone: window.timeZone ?? 'UTC',
  }
}

/** All conditions are true. */
export function and(...of: readonly Condition[]): Condition {
  return { op: 'and', of }
}

/** At least one condition is true. */
export function or(...of: readonly Condition[]): Condition {
  return { op: 'or', of }
}

/** The condition is false. If the condition is unknown, the result is unknown as well. */
export function not(of: Condition): Condition {
  return { op: 'not', of }
}

function compare(op: Comparison | PairOperator, left: unknown, right: unknown): Condition {
  return { op, left: operandOf(left), right: operandOf(right) }
}

function operandOf(side: unknown): Operand {
  if (side instanceof Date) {
    if (Number.isNaN(side.getTime())) {
      throw new PARAPET_RBAC_INVALID_ARGUMENT(
        'A Date in a condition',
        'must be a valid date, got an invalid one',
      )
    }
    return { value: side.toISOString() }
  }
  if (typeof side === 'object' && side !== null && 'ref' in side) return refOf(side as Ref)
  return { value: constantOf(side) }
}

function refOf({ ref, plusMs }: Ref): Ref {
  return plusMs === undefined ? { ref } : { ref, plusMs }
}

/** JSON has no bigint. */
function constantOf(side: unknown): Constant {
  if (typeof side === 'bigint') return String(side)
  return (Array.isArray(side) ? side.map(constantOf) : side) as Constant
}
