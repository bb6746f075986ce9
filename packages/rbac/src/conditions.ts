/**
 * Conditions are data: trees that compile, explain themselves, fold into SQL, and travel as JSON.
 *
 * An attribute that is missing or of another type makes a comparison neither true nor false but
 * unknown, as NULL does in SQL; a grant needs true, a deny rule needs no more than not-false.
 */
import { PARAPET_RBAC_INVALID_ARGUMENT } from './errors.ts'

declare const kType: unique symbol

/** An attribute, as `resource.ownerId`; its type is known to the compiler only. */
export interface Ref<T = unknown> {
  readonly ref: string
  readonly [kType]?: T
}

/** A constant of a condition. A moment in time is RFC 3339 text. */
export type Constant = string | number | boolean | readonly string[] | readonly number[]

/** One side of a comparison. */
export type Operand = Ref | { readonly value: Constant }

/** Comparisons of two operands. `before` and `after` are `lt` and `gt` of moments. */
export type Comparison = 'eq' | 'ne' | 'lt' | 'lte' | 'gt' | 'gte' | 'in'

/** A day of the week. */
export type Weekday = 'mon' | 'tue' | 'wed' | 'thu' | 'fri' | 'sat' | 'sun'

/** A condition as it is stored. Build it with {@link eq} and its kin. */
export type Condition =
  | { readonly op: 'and'; readonly of: readonly Condition[] }
  | { readonly op: 'or'; readonly of: readonly Condition[] }
  | { readonly op: 'not'; readonly of: Condition }
  | { readonly op: Comparison; readonly left: Operand; readonly right: Operand }
  | { readonly op: 'exists'; readonly left: Ref }
  | { readonly op: 'cidr'; readonly left: Ref; readonly blocks: readonly string[] }
  | ({ readonly op: 'during'; readonly left: Ref } & TimeWindow)

/** Hours of the day, on some days of the week, by the clock on a wall somewhere. */
export interface TimeWindow {
  /** First minute, as `08:00`. */
  readonly from: string
  /** First minute outside, as `18:00`; `24:00` is the end of the day. A window before `from` runs past midnight. */
  readonly until: string
  /** Days on which the window opens. */
  readonly days: readonly Weekday[]
  /** An IANA time zone. */
  readonly timeZone: string
}

type Value<T> = T extends Date ? Date | string : T
type Side<T> = Ref<T> | Value<T>
type Ordered = number | Date

/** Both are known and the same. */
export function eq<T extends string | number | boolean | Date>(
  left: Ref<T>,
  right: Side<NoInfer<T>>,
): Condition {
  return compare('eq', left, right)
}

/** Both are known and differ. */
export function ne<T extends string | number | boolean | Date>(
  left: Ref<T>,
  right: Side<NoInfer<T>>,
): Condition {
  return compare('ne', left, right)
}

/** Less than. */
export function lt<T extends Ordered>(left: Ref<T>, right: Side<NoInfer<T>>): Condition {
  return compare('lt', left, right)
}

/** Less than, or the same. */
export function lte<T extends Ordered>(left: Ref<T>, right: Side<NoInfer<T>>): Condition {
  return compare('lte', left, right)
}

/** Greater than. */
export function gt<T extends Ordered>(left: Ref<T>, right: Side<NoInfer<T>>): Condition {
  return compare('gt', left, right)
}

/** Greater than, or the same. */
export function gte<T extends Ordered>(left: Ref<T>, right: Side<NoInfer<T>>): Condition {
  return compare('gte', left, right)
}

/** The moment `left` lies before the other. */
export function before(left: Ref<Date>, right: Side<Date>): Condition {
  return compare('lt', left, right)
}

/** The moment `left` lies after the other. */
export function after(left: Ref<Date>, right: Side<Date>): Condition {
  return compare('gt', left, right)
}

/** `left` is one of the values, which are constants or an attribute that holds a list. */
export function isIn<T extends string | number>(
  left: Ref<T>,
  right: readonly NoInfer<T>[] | (T extends string ? Ref<readonly string[]> : never),
): Condition {
  return compare('in', left, right)
}

/** The list `left` holds the value. */
export function has(left: Ref<readonly string[]>, right: Side<string>): Condition {
  return { op: 'in', left: operandOf(right), right: operandOf(left) }
}

/** The attribute is there; never unknown. */
export function exists(left: Ref): Condition {
  return { op: 'exists', left: { ref: left.ref } }
}

/** The address lies in one of the blocks. Not for attributes of the resource. @see RFC 4632 */
export function cidr(left: Ref<string>, blocks: readonly string[]): Condition {
  return { op: 'cidr', left: { ref: left.ref }, blocks }
}

/**
 * The moment lies in the hours given.
 *
 * @param window `days` are all seven and `timeZone` is `UTC` unless given.
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

/** Every condition is true. */
export function and(...of: readonly Condition[]): Condition {
  return { op: 'and', of }
}

/** At least one condition is true. */
export function or(...of: readonly Condition[]): Condition {
  return { op: 'or', of }
}

/** The condition is false; of an unknown one it is unknown. */
export function not(of: Condition): Condition {
  return { op: 'not', of }
}

function compare(op: Comparison, left: unknown, right: unknown): Condition {
  return { op, left: operandOf(left), right: operandOf(right) }
}

function operandOf(side: unknown): Operand {
  if (side instanceof Date) {
    if (Number.isNaN(side.getTime())) {
      throw new PARAPET_RBAC_INVALID_ARGUMENT('a moment of a condition', 'must be a valid date')
    }
    return { value: side.toISOString() }
  }
  if (typeof side === 'object' && side !== null && 'ref' in side) return { ref: (side as Ref).ref }
  return { value: side as Constant }
}
