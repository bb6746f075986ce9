/**
 * The built-in rules. Each function makes one; its arguments change the limits. The file is long because it is one
 * table of rules.
 */
import { defineRule, type Evidence, type Label, type Rule, type RuleDefinition } from './rule.ts'

/** What may be changed about a built-in rule. */
export type RuleChanges = Partial<
  Pick<
    RuleDefinition,
    | 'limit'
    | 'withinMs'
    | 'mode'
    | 'respond'
    | 'severity'
    | 'falsePositiveRatio'
    | 'allowance'
    | 'maxKeys'
  >
>

const MINUTE = 60_000
const HOUR = 3_600_000

/** How many accounts make several failures of one address more than one forgotten password. */
const MANY_ACCOUNTS = 4

const OFFICE = {
  on: 'login-succeeded',
  distinct: 'account',
  withinMs: 24 * HOUR,
  most: 20,
} as const

function labelFailures({ accounts = 0, secrets = 0 }: Evidence): Label {
  if (accounts < MANY_ACCOUNTS) return 'brute_force'
  return secrets === 1 ? 'password_spraying' : 'credential_stuffing'
}

/** Rules by what they recognise. */
const makers = {
  /**
   * 5 failed logins from an address in 5 minutes: the 5th is detected, the 4th is not. One more for each further
   * account that has logged in there within a day, 20 at most: in an office, five people may mistype. With a
   * `falsePositiveRatio` the limit follows ordinary traffic instead.
   */
  bruteForce: (changes: RuleChanges = {}) =>
    defineRule('brute-force', {
      on: 'login-failed',
      by: 'address',
      limit: 5,
      withinMs: 5 * MINUTE,
      also: { accounts: 'account', secrets: 'secret' },
      label: labelFailures,
      severity: 'high',
      ...((changes.falsePositiveRatio ?? 0) > 0 ? undefined : { allowance: OFFICE }),
      ...changes,
    }),
  /** Failed logins on one account from 8 addresses in 10 minutes. */
  distributed: (changes: RuleChanges = {}) =>
    defineRule('distributed', {
      on: 'login-failed',
      by: 'account',
      count: { distinct: 'address' },
      limit: 8,
      withinMs: 10 * MINUTE,
      label: 'distributed_brute_force',
      severity: 'high',
      ...changes,
    }),
  /** One password tried on 8 accounts in 30 minutes, from any address. */
  spraying: (changes: RuleChanges = {}) =>
    defineRule('spraying', {
      on: 'login-failed',
      by: 'secret',
      count: { distinct: 'account' },
      limit: 8,
      withinMs: 30 * MINUTE,
      label: 'password_spraying',
      severity: 'high',
      // A user who happens to have that password must not be locked out.
      respond: ['challenge'],
      ...changes,
    }),
  /** 50 different ids of one route by a client in 60 seconds. */
  enumeration: (changes: RuleChanges = {}) =>
    defineRule('enumeration', {
      on: 'resource',
      by: ['client', 'route'],
      count: { distinct: 'resource' },
      limit: 50,
      withinMs: MINUTE,
      label: 'enumeration',
      severity: 'high',
      ...changes,
    }),
  /** 400 different resources by a client in 20 minutes. */
  scraping: (changes: RuleChanges = {}) =>
    defineRule('scraping', {
      on: 'resource',
      by: 'client',
      count: { distinct: 'resource' },
      limit: 400,
      withinMs: 20 * MINUTE,
      label: 'scraping',
      ...changes,
    }),
  /** 10 exports by a client in 5 minutes. */
  massExport: (changes: RuleChanges = {}) =>
    defineRule('mass-export', {
      on: 'export',
      by: 'client',
      limit: 10,
      withinMs: 5 * MINUTE,
      label: 'mass_export',
      severity: 'high',
      ...changes,
    }),
  /** 24 exports by a client in 12 hours: below the limit of a mass export, but without an end. */
  slowExport: (changes: RuleChanges = {}) =>
    defineRule('slow-export', {
      on: 'export',
      by: 'client',
      limit: 24,
      withinMs: 12 * HOUR,
      label: 'slow_exfiltration',
      severity: 'high',
      ...changes,
    }),
  /** More than 1 GB sent to a client in an hour. */
  largeTransfer: (changes: RuleChanges = {}) =>
    defineRule('large-transfer', {
      on: 'request',
      by: 'client',
      count: 'amount',
      limit: 1_000_000_000,
      withinMs: HOUR,
      label: 'large_transfer',
      severity: 'high',
      ...changes,
    }),
  /** 100 files by a client in 5 minutes; a route is a file's with `config.anomaly.tag` `'file'`. */
  fileAccess: (changes: RuleChanges = {}) =>
    defineRule('file-access', {
      on: 'file',
      by: 'client',
      limit: 100,
      withinMs: 5 * MINUTE,
      label: 'file_access',
      ...changes,
    }),
  /** 400 requests by a client in 10 seconds. */
  flood: (changes: RuleChanges = {}) =>
    defineRule('flood', {
      on: ['request', 'unmatched'],
      by: 'client',
      limit: 400,
      withinMs: 10_000,
      label: 'flood',
      severity: 'high',
      ...changes,
    }),
  /** 15 different paths that no route matches, by an address in 60 seconds. */
  scanner: (changes: RuleChanges = {}) =>
    defineRule('scanner', {
      on: 'unmatched',
      by: 'address',
      count: { distinct: 'resource' },
      limit: 15,
      withinMs: MINUTE,
      label: 'scanning',
      ...changes,
    }),
  /** A session that another client uses as well, from another network. */
  tokenTheft: (changes: RuleChanges = {}) =>
    defineRule('token-theft', {
      on: 'session-moved',
      by: 'sessionId',
      limit: 1,
      withinMs: 10 * MINUTE,
      label: 'token_theft',
      severity: 'critical',
      ...changes,
    }),
  /** 3 moved sessions at one address in 10 minutes. */
  sessionHopping: (changes: RuleChanges = {}) =>
    defineRule('session-hopping', {
      on: 'session-moved',
      by: 'address',
      count: { distinct: 'sessionId' },
      limit: 3,
      withinMs: 10 * MINUTE,
      label: 'session_hopping',
      severity: 'critical',
      ...changes,
    }),
  /** 3 requests with an attack in their payload, by an address in 10 minutes. */
  payloads: (changes: RuleChanges = {}) =>
    defineRule('payloads', {
      on: 'payload-attack',
      by: 'address',
      limit: 3,
      withinMs: 10 * MINUTE,
      label: 'payload_attack',
      severity: 'high',
      ...changes,
    }),
  /** 10 failures at one detection point, by a client in 5 minutes: `request.anomaly.fail(name)`. */
  detectionPoints: (changes: RuleChanges = {}) =>
    defineRule('detection-points', {
      on: 'detection-point',
      by: ['client', 'resource'],
      limit: 10,
      withinMs: 5 * MINUTE,
      label: 'detection_point',
      ...changes,
    }),
  /** 20 refused tokens from an address in 5 minutes. */
  tokenGuessing: (changes: RuleChanges = {}) =>
    defineRule('token-guessing', {
      on: 'token-refused',
      by: 'address',
      limit: 20,
      withinMs: 5 * MINUTE,
      label: 'token_guessing',
      ...changes,
    }),
  /** 20 requests without permission by a client in 5 minutes. */
  forbiddenAccess: (changes: RuleChanges = {}) =>
    defineRule('forbidden-access', {
      on: 'access-denied',
      by: 'client',
      limit: 20,
      withinMs: 5 * MINUTE,
      label: 'forbidden_access',
      ...changes,
    }),
  /** 30 exceeded rate limits by a client in 5 minutes. */
  limitAbuse: (changes: RuleChanges = {}) =>
    defineRule('limit-abuse', {
      on: 'rate-limited',
      by: 'client',
      limit: 30,
      withinMs: 5 * MINUTE,
      label: 'limit_abuse',
      ...changes,
    }),
}

/** The built-in rules, and `define` for rules of the user. */
export const rules = Object.freeze({
  ...makers,
  define: defineRule,
  /** Every built-in rule with its own limits. */
  all: (): readonly Rule[] => Object.values(makers).map((make) => make()),
})
