/** What a rule is, and what it finds. */
import type { Severity } from '@parapet/kit'
import { PARAPET_ANOMALY_GUARD_INVALID_ARGUMENT } from '../errors.ts'
import { checkMembers } from './rule-members.ts'
import { keyOf, type Signal, type SignalKey } from './signal.ts'

/** What is going on, as precisely as a rule can say. Users' rules may have labels of their own. */
export type Label =
  | 'brute_force'
  | 'credential_stuffing'
  | 'password_spraying'
  | 'distributed_brute_force'
  | 'enumeration'
  | 'scraping'
  | 'mass_export'
  | 'slow_exfiltration'
  | 'large_transfer'
  | 'file_access'
  | 'flood'
  | 'scanning'
  | 'token_theft'
  | 'session_hopping'
  | 'account_takeover'
  | 'token_guessing'
  | 'forbidden_access'
  | 'limit_abuse'
  | 'detection_point'
  | 'payload_attack'
  | 'unusual_behaviour'
  | (string & {})

/** What the guard does about a detection. */
export type Response =
  | 'block-address'
  | 'block-principal'
  | 'tighten'
  | 'challenge'
  | 'challenge-account'
  | 'step-up'
  | 'revoke'

/** `shadow` records, `alert` also emits events of its severity, `enforce` also contains. */
export type Mode = 'shadow' | 'alert' | 'enforce'

/** What is counted: signals, different values of a member, or the sum of the amounts. */
type Counted = 'signals' | 'amount' | { readonly distinct: SignalKey }

/** Numbers that support a detection, by name. */
export type Evidence = Readonly<Record<string, number>>

/** A rule over one sliding window. */
export interface RuleDefinition {
  /** The names of the signals that it counts. */
  readonly on: string | readonly string[]
  /** Who is counted: one window for each value, or for each combination of two. */
  readonly by: SignalKey | readonly [SignalKey, SignalKey]
  /** @default 'signals' */
  readonly count?: Counted
  /** The reading from which on it detects, 1 to 10 000; a sum may be larger. */
  readonly limit: number
  /** The length of the window in milliseconds. */
  readonly withinMs: number
  /** Which signals count. @default all */
  readonly where?: (signal: Signal) => boolean
  /** Further counts of different values in the same window and by the same key, as evidence. */
  readonly also?: Readonly<Record<string, SignalKey>>
  /** What it is called; a function gets the evidence. @default the name of the rule */
  readonly label?: Label | ((evidence: Evidence) => Label)
  /** @default 'medium' */
  readonly severity?: Severity
  /** What is done in mode `enforce`. @default what the option `respond` says for the label */
  readonly respond?: readonly Response[]
  /** @default the option `mode` */
  readonly mode?: Mode
  /**
   * At most this share of requests may exceed the rule: its limit rises with the readings of ordinary
   * traffic. 0 to 0.1. @default 0: the limit stays
   */
  readonly falsePositiveRatio?: number
  /**
   * Raises the limit of a key by one for each further value of `distinct`, beyond one, that a signal `on` had there
   * within `withinMs`, by `most` at most: many users of one address make more mistakes than one. @default none
   */
  readonly allowance?: {
    readonly on: string
    readonly distinct: SignalKey
    readonly withinMs: number
    readonly most: number
  }
  /** How many keys are tracked. @default 100 000 */
  readonly maxKeys?: number
}

/** A rule with its name. */
export interface Rule extends RuleDefinition {
  readonly name: string
}

/** Whom a detection is about. */
export interface Subject {
  readonly address?: string
  readonly principalId?: string
  /** A keyed hash. */
  readonly account?: string
}

/** What a rule, the inspection or the behaviour score found. */
export interface Detection {
  readonly rule: string
  readonly label: Label
  readonly severity: Severity
  readonly subject: Subject
  /** Detections of one rule and group are one anomaly. */
  readonly group: string
  readonly evidence: Evidence
  /** Further facts in words, such as the most unusual features. */
  readonly reasons?: readonly string[]
  readonly route?: string
  readonly respond?: readonly Response[]
  readonly mode?: Mode
  /** See `Signal.origin`. */
  readonly origin?: Signal['origin']
}

/** Rules that were checked: what only looks like one would silently do nothing. */
const defined = new WeakSet<object>()

/** Whether a value was made by {@link defineRule}. */
export function isRule(value: unknown): boolean {
  return typeof value === 'object' && value !== null && defined.has(value)
}

const NAME = /^[a-z][a-z0-9-]{0,63}$/

/**
 * Defines a rule.
 *
 * @param name lower-case letters, digits and hyphens, at most 64; unique in an app.
 * @throws PARAPET_ANOMALY_GUARD_INVALID_ARGUMENT a name, limit or window is out of range.
 */
export function defineRule(name: string, definition: RuleDefinition): Rule {
  const refuse = (what: string, problem: string): never => {
    throw new PARAPET_ANOMALY_GUARD_INVALID_ARGUMENT(`${what} of the rule "${name}"`, problem)
  }
  const { limit, withinMs, maxKeys = 1, falsePositiveRatio: budget = 0, count } = definition
  const { allowance } = definition
  checkMembers(definition, refuse)
  if (!NAME.test(name)) refuse('the name', 'must be lower-case letters, digits and hyphens')
  const most = count === 'amount' ? Number.MAX_SAFE_INTEGER : 10_000
  if (!isWithin(limit, 1, most)) refuse('limit', `must be an integer from 1 to ${most}`)
  if (!isWithin(withinMs, 1, MAX_WINDOW_MS)) {
    refuse('withinMs', `must be an integer from 1 to ${MAX_WINDOW_MS} (milliseconds)`)
  }
  if (!isWithin(maxKeys, 1, MAX_KEYS)) refuse('maxKeys', `must be an integer from 1 to ${MAX_KEYS}`)
  if (allowance !== undefined) {
    const isValid =
      count === undefined && budget === 0 && isWithin(allowance.withinMs, 1, MAX_WINDOW_MS)
    if (!isValid || !isWithin(allowance.most, 1, 1000)) {
      refuse(
        'allowance',
        `must have "withinMs" to ${MAX_WINDOW_MS} and "most" to 1000, beside neither "count" nor "falsePositiveRatio"`,
      )
    }
  }
  if (!(budget >= 0 && budget <= 0.1)) refuse('falsePositiveRatio', 'must be from 0 to 0.1')
  const rule = Object.freeze({ ...definition, name })
  defined.add(rule)
  return rule
}

const MAX_WINDOW_MS = 604_800_000
const MAX_KEYS = 4_000_000

function isWithin(value: number, min: number, max: number): boolean {
  return Number.isSafeInteger(value) && value >= min && value <= max
}

/** Keys whose windows are about the principal, where the request has one. */
const OF_PRINCIPAL = new Set<SignalKey>(['client', 'principalId', 'sessionId'])

/** The subject of a detection by a rule. */
export function subjectOf(signal: Signal, by: RuleDefinition['by']): Subject {
  const keys = typeof by === 'string' ? [by] : by
  const principal = keys.some((key) => OF_PRINCIPAL.has(key))
  return {
    address: signal.address,
    ...(principal && signal.principalId !== undefined
      ? { principalId: signal.principalId }
      : undefined),
    ...(keys.includes('account') && signal.account !== undefined
      ? { account: keyOf(signal, 'account')! }
      : undefined),
  }
}
