/** The stored form of a condition. */

declare const kType: unique symbol

/** A reference to an attribute, for example `resource.ownerId`. `T` exists for the compiler only. */
export interface Ref<T = unknown> {
  readonly ref: string
  /** Milliseconds to add to a time, see {@link plus}. */
  readonly plusMs?: number
  readonly [kType]?: T
}

/** A constant in a condition. A time is RFC 3339 text. */
export type Constant = string | number | boolean | readonly string[] | readonly number[]

/** One side of a comparison. */
export type Operand = Ref | { readonly value: Constant }

/** The comparison operators. `before` and `after` are stored as `lt` and `gt`. */
export type Comparison = 'eq' | 'ne' | 'lt' | 'lte' | 'gt' | 'gte' | 'in'

/** The operators of two lists and of two texts. */
export type PairOperator = 'containsAny' | 'containsAll' | 'startsWith' | 'under'

/** A day of the week. */
export type Weekday = 'mon' | 'tue' | 'wed' | 'thu' | 'fri' | 'sat' | 'sun'

/** A condition as it is stored. Build it with {@link eq}, {@link and} and the other operators. */
export type Condition =
  | { readonly op: 'and'; readonly of: readonly Condition[] }
  | { readonly op: 'or'; readonly of: readonly Condition[] }
  | { readonly op: 'not'; readonly of: Condition }
  | { readonly op: Comparison | PairOperator; readonly left: Operand; readonly right: Operand }
  | { readonly op: 'related'; readonly relation: string; readonly left: Ref }
  | { readonly op: 'exists'; readonly left: Ref }
  | { readonly op: 'cidr'; readonly left: Ref; readonly blocks: readonly string[] }
  | ({ readonly op: 'during'; readonly left: Ref } & TimeWindow)

/** Hours of the day on some days of the week, in local time of one time zone. */
export interface TimeWindow {
  /** The first minute inside, as `08:00`. */
  readonly from: string
  /**
   * The first minute outside, as `18:00`; `24:00` is the end of the day. If it is earlier than
   * `from`, the window runs past midnight.
   */
  readonly until: string
  /** The days on which the window opens. */
  readonly days: readonly Weekday[]
  /** An IANA time zone, as `Europe/Berlin`. */
  readonly timeZone: string
}
