/**
 * The options, their defaults, and the function that reads and checks them. The file is long because each
 * option is documented where it is declared.
 */
import {
  option,
  optionGroup,
  readOptions,
  systemClock,
  type Clock,
  type OptionReader,
  type OptionSettings,
  type PrincipalMapping,
  type Store,
} from '@parapet/kit'
import type { FeatureDefinition } from './behaviour/types.ts'
import { blockOf } from './contain/address.ts'
import type { Revoke, StepUp, Tighten } from './contain/ports.ts'
import { PARAPET_ANOMALY_GUARD_INVALID_OPTION } from './errors.ts'
import type { CountryLookup } from './inspect/geo-types.ts'
import { attackClasses, findFieldsProblem } from './inspect/settings.ts'
import type { AttackClass, FieldTreatment } from './inspect/types.ts'
import { rules } from './rules/built-in-rules.ts'
import type { EventMapping } from './rules/event-signals.ts'
import { isRule, type Mode, type Response, type Rule } from './rules/rule.ts'

/** The inspection of payloads: the rule `inspection`. */
export interface InspectOptions {
  /** @default true */
  readonly enabled?: boolean
  /** `enforce` refuses requests with an attack. @default the option `mode` */
  readonly mode?: Mode
  /** From which score on it is an attack, 0 to 1. @default 0.7 */
  readonly thresholdRatio?: number
  /** `skip` or `base64` by location: `{ 'body.article.*': 'skip' }`. @default {} */
  readonly fields?: Readonly<Record<string, FieldTreatment>>
  /** Classes that are not looked for. @default [] */
  readonly without?: readonly AttackClass[]
  /** How deep a body is read; what lies deeper passes without a look. @default 100 */
  readonly maxDepth?: number
  /** How many values and names of a request are read; more pass without a look. @default 50 000 */
  readonly maxValues?: number
}

/** The score of behaviour: the rule `behaviour`. */
export interface BehaviourOptions {
  /** @default true */
  readonly enabled?: boolean
  /** @default the option `mode` */
  readonly mode?: Mode
  /** The length of its window. @default 60 000 */
  readonly windowMs?: number
  /** How many clients are followed. @default 100 000 */
  readonly maxKeys?: number
  /** The share of ordinary traffic that may count as anomalous, above 0, to 0.1. @default 0.001 */
  readonly contaminationRatio?: number
  /** Your own features, filled by `request.anomaly.measure(name, value)`. @default [] */
  readonly features?: readonly FeatureDefinition[]
  /** Makes the model reproducible, for tests. @default random */
  readonly seed?: number
}

/** Countries: the rule `geo`. */
export interface GeoOptions {
  /** Looks up countries; or give `database`. */
  readonly lookup?: CountryLookup
  /** The path of a MaxMind database file; needs the package `maxmind`. */
  readonly database?: string
  /** Only these countries are allowed (ISO 3166). @default all */
  readonly allow?: readonly string[]
  /** These countries are refused. @default none */
  readonly deny?: readonly string[]
  /** @default the option `mode` */
  readonly mode?: Mode
}

/** How the guard contains clients by itself. */
export interface ContainOptions {
  /** How long the first containment of a client lasts, the second, and so on. @default 1 h, 24 h, 7 d */
  readonly stepsMs?: readonly number[]
  /** After so long without a containment, one step is forgotten. @default 604 800 000 (7 d) */
  readonly decayMs?: number
  /** The share of the clients of the last 10 minutes that may be blocked in 10 minutes. @default 0.05 */
  readonly maxBlockedRatio?: number
  /** So many may be blocked in 10 minutes whatever the share. @default 10 */
  readonly minBlocked?: number
  /** How long a client is spared after its containment was lifted. @default 3 600 000 (1 h) */
  readonly graceMs?: number
  /** Requests per minute of a tightened client, where `tighten` is not set. @default 30 */
  readonly tightenedLimit?: number
  /** How many containments are kept at most. @default 1 200 000 */
  readonly maxContainments?: number
}

/** The proof of work that replaces a block where a client may be innocent. */
export interface ChallengeOptions {
  /** The prefix of its routes. @default '/challenge' */
  readonly prefix?: string
  /** The mean number of key derivations that a client computes, about 1 ms each. @default 2000 */
  readonly difficulty?: number
  /** How long a solved challenge counts. @default 3 600 000 (1 h) */
  readonly passMs?: number
  /** Requests that a solved challenge lets pass, on each instance; then it has to be solved again. @default 200 */
  readonly passRequests?: number
}

/** Accepts `trustProxy: true`. Every client can then evade containment, and have any address contained. */
export const acceptForgedAddresses: unique symbol = Symbol('acceptForgedAddresses')

/** The options of the plugin. */
export interface AnomalyGuardOptions {
  /** `shadow` records, `alert` also emits events, `enforce` also contains. @default 'shadow' */
  readonly mode?: Mode
  /** @default rules.all(): every built-in rule */
  readonly rules?: readonly Rule[]
  /** What is done about each label, in addition to or instead of the defaults. */
  readonly respond?: Readonly<Record<string, readonly Response[]>>
  /** Addresses and CIDR blocks that are never contained. @default [] */
  readonly allow?: readonly string[]
  /** Ids of principals that are never contained. @default [] */
  readonly allowPrincipals?: readonly string[]
  /** Shares containments, signals, anomalies and modes. @default in memory, of this process only */
  readonly store?: Store
  /** At least 32 characters, equal on all instances: for passes and hashed accounts. @default random */
  readonly secret?: string
  /** Finds the caller, in an app whose login does not set `request.principal`. */
  readonly principal?: PrincipalMapping
  /** Security events of your own as signals; `null` ignores a type. @default those of Parapet */
  readonly events?: Readonly<Record<string, EventMapping | null>>
  readonly inspect?: InspectOptions
  readonly behaviour?: BehaviourOptions
  /** @default no geo rules */
  readonly geo?: GeoOptions
  readonly contain?: ContainOptions
  /** @default no challenge: a limit is tightened instead */
  readonly challenge?: ChallengeOptions
  /** The SHA-256 of a token, in hex: a request with the token in `break-glass` is never contained. */
  readonly breakGlassSha256?: string
  /** Lowers the limits of a client elsewhere: `app.rateLimits.tighten` fits. @default the guard's own limit */
  readonly tighten?: Tighten
  /** Requires a second factor of a principal. @default nothing is done */
  readonly stepUp?: StepUp
  /** Ends the sessions of a principal. @default nothing is done */
  readonly revoke?: Revoke
  /** How long anomalies are kept, up to 90 days. @default 2 592 000 000 (30 d) */
  readonly retentionMs?: number
  readonly clock?: Clock
  readonly [acceptForgedAddresses]?: true
}

const modes = ['shadow', 'alert', 'enforce'] as const
const mode = option.oneOf<Mode>(modes)
const responses = [
  'block-address',
  'block-principal',
  'tighten',
  'challenge',
  'challenge-account',
  'step-up',
  'revoke',
] as const
const HOUR = 3_600_000
const DAY = 24 * HOUR

const address = option.custom<string>((value) => {
  const block = typeof value === 'string' ? blockOf(value) : 'must be a string'
  return typeof block === 'string' ? block : undefined
})
const rule = option.custom<Rule>((value) =>
  isRule(value)
    ? undefined
    : 'must be made by "rules", such as rules.bruteForce() or rules.define(name, …)',
)
const event = option.custom<EventMapping | null>((value) => {
  const isMapping =
    value === null || typeof (value as Record<string, unknown> | undefined)?.['signal'] === 'string'
  return isMapping ? undefined : 'must be null or an object with "signal"'
})
const country = option.text({ pattern: /^[A-Z]{2}$/, form: 'an ISO 3166 code such as "DE"' })
const stepsMs = option.custom<readonly number[]>(
  (value) =>
    Array.isArray(value) &&
    value.length > 0 &&
    value.every((each) => Number.isSafeInteger(each) && each >= 1000 && each <= 365 * DAY)
      ? undefined
      : 'must be a list of durations from 1000 to 31536000000 (milliseconds)',
  { default: [HOUR, DAY, 7 * DAY] },
)

const challenge = optionGroup({
  prefix: option.text({
    pattern: /^\/[\w/-]*[\w-]$/,
    form: 'a path such as "/challenge"',
    default: '/challenge',
  }),
  difficulty: option.integer({ min: 1, max: 100_000, default: 2000 }),
  passMs: option.milliseconds({ min: 1000, max: 7 * DAY, default: HOUR }),
  passRequests: option.integer({ min: 1, max: 10_000, default: 200 }),
})

/** One reader for each option; a test compares the table with the README. */
export const optionTable = {
  mode: option.oneOf<Mode>(modes, { default: 'shadow' }),
  rules: option.list(rule, { max: 200, default: rules.all() }),
  respond: option.map(option.list(option.oneOf<Response>(responses)), { default: {} }),
  allow: option.list(address, { default: [] }),
  allowPrincipals: option.list(option.text({ max: 300 }), { default: [] }),
  store: option.optional(option.port<Store>(['setIfAbsent', 'publish', 'subscribe', 'addMember'])),
  secret: option.optional(option.text({ min: 32 })),
  principal: option.optional(option.callback<PrincipalMapping>()),
  events: option.map(event, { default: {} }),
  inspect: optionGroup({
    enabled: option.boolean({ default: true }),
    mode: option.optional(mode),
    thresholdRatio: option.ratio({ default: 0.7 }),
    fields: option.custom<Readonly<Record<string, FieldTreatment>>>(findFieldsProblem, {
      default: {},
    }),
    without: option.list(option.oneOf<AttackClass>(attackClasses), { default: [] }),
    maxDepth: option.integer({ min: 1, max: 500, default: 100 }),
    maxValues: option.integer({ min: 10, max: 1_000_000, default: 50_000 }),
  }),
  behaviour: optionGroup({
    enabled: option.boolean({ default: true }),
    mode: option.optional(mode),
    windowMs: option.milliseconds({ min: 1000, max: HOUR, default: 60_000 }),
    maxKeys: option.integer({ min: 100, max: 2_000_000, default: 100_000 }),
    contaminationRatio: option.ratio({ min: 1e-6, max: 0.1, default: 0.001 }),
    features: option.list(option.custom<FeatureDefinition>(isFeature), { max: 16, default: [] }),
    seed: option.optional(option.integer()),
  }),
  geo: option.optional(
    optionGroup({
      lookup: option.optional(option.port<CountryLookup>(['countryOf'])),
      database: option.optional(option.text()),
      allow: option.optional(option.list(country, { min: 1, max: 300 })),
      deny: option.list(country, { max: 300, default: [] }),
      mode: option.optional(mode),
    }),
  ),
  contain: optionGroup({
    stepsMs,
    decayMs: option.milliseconds({ min: 1000, max: 365 * DAY, default: 7 * DAY }),
    maxBlockedRatio: option.ratio({ default: 0.05 }),
    minBlocked: option.integer({ max: 100_000, default: 10 }),
    graceMs: option.milliseconds({ min: 0, max: 30 * DAY, default: HOUR }),
    tightenedLimit: option.integer({ min: 1, max: 10_000, default: 30 }),
    maxContainments: option.integer({ min: 1, max: 4_000_000, default: 1_200_000 }),
  }),
  challenge: option.optional(challenge),
  breakGlassSha256: option.optional(
    option.text({ pattern: /^[0-9a-f]{64}$/, form: 'a SHA-256 of 64 lower-case hex digits' }),
  ),
  tighten: option.optional(option.callback<Tighten>()),
  stepUp: option.optional(option.callback<StepUp>()),
  revoke: option.optional(option.callback<Revoke>()),
  retentionMs: option.milliseconds({ min: 60_000, max: 90 * DAY, default: 30 * DAY }),
  clock: option.port<Clock>(['now', 'schedule'], { default: systemClock }),
  [acceptForgedAddresses]: option.danger(),
} satisfies Record<keyof AnomalyGuardOptions, OptionReader<unknown>>

function isFeature(value: unknown): string | undefined {
  const { name } = (value ?? {}) as Partial<FeatureDefinition>
  return typeof name === 'string' && name !== '' ? undefined : 'must be an object with a "name"'
}

/** The options with every default filled in. */
export type AnomalyGuardSettings = OptionSettings<typeof optionTable>

/** Reads the options once, at boot. @throws PARAPET_ANOMALY_GUARD_INVALID_OPTION */
export function resolveOptions(options: unknown): AnomalyGuardSettings {
  const plugin = '@parapet/anomaly-guard'
  const InvalidOption = PARAPET_ANOMALY_GUARD_INVALID_OPTION
  const settings = readOptions(plugin, options, optionTable, InvalidOption)
  const names = settings.rules.map(({ name }) => name)
  const twice = names.find((name, index) => names.indexOf(name) !== index)
  if (twice !== undefined)
    throw new InvalidOption(plugin, `  "rules": two rules are named "${twice}"`)
  return settings
}
