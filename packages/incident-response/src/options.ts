/**
 * The options of the plugin, their defaults, and the table that reads them. The file is long because each option is
 * documented where it is declared, and the checks of their values follow.
 */
import {
  createMemoryJobs,
  option,
  optionGroup,
  readOptions,
  systemClock,
  type Clock,
  type Jobs,
  type OptionReader,
  type OptionSettings,
  type SqlClient,
} from '@parapet/kit'
import { ACTION_NAME, actionFault, type Action, type Actions } from './actions/action.ts'
import { builtInPlaybooks } from './built-in/built-in.ts'
import { PARAPET_INCIDENT_RESPONSE_INVALID_OPTION } from './errors.ts'
import { builtInFindings, type EventFinding } from './findings/event-findings.ts'
import { builtInResponses, type ResponseRule } from './findings/response-rules.ts'
import { TYPE } from './incidents/finding.ts'
import { severities, type Incident, type IncidentSeverity } from './incidents/incident.ts'
import type { Notifier } from './notify/notifier.ts'
import {
  isTimeZone,
  TIME_OF_DAY,
  type QuietHours,
  type QuietHoursBySeverity,
} from './notify/quiet-hours.ts'
import type { PlaybookSource } from './playbooks/library.ts'

/** Names of notifiers: those who get messages first, those after the first missed deadline, and so on. */
export type Escalation = readonly (readonly string[])[]

/** What `app.register` takes. */
export interface IncidentResponseOptions {
  /** What playbooks, responses and people can do. `LOG_ONLY` and `post_mortem` exist already. @default {} */
  readonly actions?: Actions
  /** Playbooks, besides the built-in ones. @default [] */
  readonly playbooks?: readonly PlaybookSource[]
  /** Names of built-in playbooks. @default all of them */
  readonly builtIn?: readonly string[]
  /** Who can be told, by name. @default {} */
  readonly notifiers?: Readonly<Record<string, Notifier>>
  /** Who gets messages, by severity. @default all notifiers, at every level */
  readonly escalation?: Readonly<Partial<Record<IncidentSeverity, Escalation>>>
  /** How long a person has to acknowledge. @default critical 15 min, high 1 h, medium 4 h, low 24 h */
  readonly respondMs?: Readonly<Partial<Record<IncidentSeverity, number>>>
  /** When messages wait. @default never */
  readonly quietHours?: QuietHoursBySeverity
  /** Which security events are findings; replaces the built-in table. @default builtInFindings */
  readonly findings?: readonly EventFinding[]
  /** Automated responses; replaces the built-in table. @default builtInResponses */
  readonly responses?: readonly ResponseRule[]
  /** Hosts that steps of kind `http` may call. @default [] */
  readonly httpHosts?: readonly string[]
  /** Stores incidents in PostgreSQL or PGlite. @default the memory of the process */
  readonly sql?: SqlClient
  /** Whether this instance creates and migrates the tables of `sql`. @default true */
  readonly migrate?: boolean
  /** Durable jobs: deadlines, messages and steps. @default jobs in the memory of the process */
  readonly jobs?: Jobs
  /** The URL of an incident, for messages. It must not contain a secret. @default none */
  readonly incidentUrl?: (incident: Incident) => string
  /** The most incidents in memory; closed ones give way. @default 10 000 */
  readonly maxIncidents?: number
  /** The most findings that wait to be stored. @default 20 000 */
  readonly maxQueuedFindings?: number
  /** The most automated responses of one incident. @default 500 */
  readonly maxResponses?: number
  /** The most live feeds of one instance. @default 100 */
  readonly maxFeeds?: number
  /**
   * How many messages about incidents of one type and severity a notifier gets in a minute; the others wait and are
   * folded into one. @default 10
   */
  readonly messagesPerMinute?: number
  /** How long a notifier, the check of one, and the guard of the routes may take. @default 15 000 */
  readonly deadlineMs?: number
  /** How long closed incidents are kept; 0: for ever. @default 730 days */
  readonly retentionMs?: number
  /** How long the closing server waits for actions that run. @default 10 000 */
  readonly drainMs?: number
  readonly clock?: Clock
}

const DAY_MS = 86_400_000
const RESPOND_MS = { critical: 900_000, high: 3_600_000, medium: 14_400_000, low: DAY_MS } as const
const MAX_RESPOND_MS = 30 * DAY_MS

/** Actions that every service has. */
const ownActionNames: readonly string[] = Object.freeze(['LOG_ONLY', 'post_mortem'])

const names = option.list(option.text({ max: 64, pattern: ACTION_NAME }), { max: 50 })
const escalation = option.optional(option.list(names, { min: 1, max: 10 }))
const isObject = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

const isTime = (time: unknown) => typeof time === 'string' && TIME_OF_DAY.test(time)

const quiet = option.optional(
  option.custom<QuietHours>((value) => {
    if (!isObject(value)) return 'must be an object with "from" and "to"'
    const { from, to, timeZone = 'UTC', ...others } = value
    if (Object.keys(others).length > 0) return 'has no more than "from", "to" and "timeZone"'
    if (!isTime(from) || !isTime(to)) return 'needs "from" and "to" as times such as "22:00"'
    return typeof timeZone === 'string' && isTimeZone(timeZone)
      ? undefined
      : 'has an unknown "timeZone"'
  }),
)

const actions = option.custom<Actions>(
  (value) => {
    if (!isObject(value)) return 'must be an object'
    for (const [name, action] of Object.entries(value)) {
      if (!ACTION_NAME.test(name)) return `has the malformed name "${name.slice(0, 64)}"`
      const fault = actionFault(action)
      if (fault !== undefined) return `: "${name}" ${fault}`
    }
    return undefined
  },
  { default: {} },
)

const finding = option.custom<EventFinding>((value) => {
  if (!isObject(value)) return 'must be an object'
  const { on, type, severity, when, groupBy, ...others } = value
  const [unknown] = Object.keys(others)
  if (unknown !== undefined) return `has no "${unknown}"`
  if (typeof on !== 'string' || on === '') return 'needs "on", the type of an event'
  if (typeof type !== 'string' || !TYPE.test(type)) return 'needs "type", such as "brute_force"'
  if (severity !== undefined && !severities.includes(severity as IncidentSeverity)) {
    return `needs "severity" as one of ${severities.join(', ')}`
  }
  if (when !== undefined && typeof when !== 'function') return 'needs "when" as a function'
  const isKnown =
    groupBy === undefined || ['type', 'address', 'principal'].includes(groupBy as string)
  return isKnown ? undefined : 'needs "groupBy" as type, address or principal'
})

const response = optionGroup({
  name: option.text({
    max: 64,
    pattern: /^[a-z][a-z0-9-]*$/,
    form: 'a name such as "block-guessers"',
  }),
  type: option.text({
    max: 64,
    pattern: /^(?:\*|[a-z][a-z0-9_]*)$/,
    form: 'an incident type, or "*"',
  }),
  minSeverity: option.optional(option.oneOf(severities)),
  minAttempts: option.optional(option.integer({ min: 1 })),
  do: option.text({ max: 64, pattern: ACTION_NAME }),
  per: option.oneOf(['address', 'principal', 'incident']),
  ttlMs: option.optional(option.milliseconds({ max: 365 * DAY_MS })),
  with: option.optional(
    option.custom<Readonly<Record<string, string | number | boolean>>>((value) =>
      isObject(value) ? undefined : 'must be an object',
    ),
  ),
} satisfies Record<keyof ResponseRule, OptionReader<unknown>>)

const source = option.custom<PlaybookSource>((value) => {
  if (!isObject(value)) return 'must be an object'
  const { file, yaml, playbook } = value
  if (typeof yaml === 'string' && typeof file === 'string') return undefined
  if (isObject(playbook) && yaml === undefined) return undefined
  return 'must be { file, yaml } or { playbook }'
})

/** One reader for each option; a test compares the table with the README. */
export const optionTable = {
  actions,
  playbooks: option.list(source, { max: 200, default: [] }),
  builtIn: option.list(option.oneOf(Object.keys(builtInPlaybooks)), {
    default: Object.keys(builtInPlaybooks),
  }),
  notifiers: option.map(option.port<Notifier>(['send']), { default: {} }),
  escalation: optionGroup({
    low: escalation,
    medium: escalation,
    high: escalation,
    critical: escalation,
  }),
  respondMs: option.custom<NonNullable<IncidentResponseOptions['respondMs']>>(respondFault, {
    default: {},
  }),
  quietHours: optionGroup({ low: quiet, medium: quiet, high: quiet }),
  findings: option.list(finding, { max: 500, default: builtInFindings }),
  responses: option.list(response, { max: 500, default: builtInResponses as never }),
  httpHosts: option.list(option.text({ max: 253 }), { max: 100, default: [] }),
  sql: option.optional(option.port<SqlClient>(['query', 'transaction'])),
  migrate: option.boolean({ default: true }),
  jobs: option.optional(option.port<Jobs>(['define', 'enqueue', 'every', 'find', 'start'])),
  incidentUrl: option.optional(option.callback<(incident: Incident) => string>()),
  maxIncidents: option.integer({ min: 1, max: 1_000_000, default: 10_000 }),
  maxQueuedFindings: option.integer({ min: 1, max: 1_000_000, default: 20_000 }),
  maxResponses: option.integer({ max: 10_000, default: 500 }),
  maxFeeds: option.integer({ max: 10_000, default: 100 }),
  messagesPerMinute: option.integer({ min: 1, max: 1000, default: 10 }),
  deadlineMs: option.milliseconds({ max: 120_000, default: 15_000 }),
  retentionMs: option.milliseconds({ min: 0, default: 730 * DAY_MS }),
  drainMs: option.milliseconds({ min: 0, max: 120_000, default: 10_000 }),
  clock: option.port<Clock>(['now', 'schedule'], { default: systemClock }),
} satisfies Record<keyof IncidentResponseOptions, OptionReader<unknown>>

/** The members are severities, so their names carry no unit: it is in the name of the option. */
function respondFault(value: unknown): string | undefined {
  if (!isObject(value)) return 'must be an object'
  for (const [severity, ms] of Object.entries(value)) {
    if (!severities.includes(severity as IncidentSeverity)) return `has no "${severity}"`
    if (!Number.isSafeInteger(ms) || Number(ms) < 60_000 || Number(ms) > MAX_RESPOND_MS) {
      return `needs "${severity}" as an integer from 60000 to ${MAX_RESPOND_MS} (milliseconds)`
    }
  }
  return undefined
}

type Read = OptionSettings<typeof optionTable>

/** The options with every default filled in. */
export interface IncidentResponseSettings extends Omit<
  Read,
  'respondMs' | 'escalation' | 'actions' | 'responses'
> {
  readonly responses: readonly ResponseRule[]
  readonly actions: Readonly<Record<string, Action | Action['run']>>
  readonly respondMs: Readonly<Record<IncidentSeverity, number>>
  readonly escalation: Readonly<Record<IncidentSeverity, Escalation>>
}

/** Reads the options once, at boot. @throws PARAPET_INCIDENT_RESPONSE_INVALID_OPTION */
export function resolveOptions(options: unknown): IncidentResponseSettings {
  const plugin = '@parapet/incident-response'
  const read = readOptions(plugin, options, optionTable, PARAPET_INCIDENT_RESPONSE_INVALID_OPTION)
  const everyone = Object.keys(read.notifiers)
  const faults: string[] = []
  const escalationOf = (severity: IncidentSeverity): Escalation => {
    const given = read.escalation[severity]
    const unknown = given?.flat().find((name) => !everyone.includes(name))
    if (unknown !== undefined) {
      faults.push(
        `  "escalation.${severity}" names "${unknown}", which is no member of "notifiers"`,
      )
    }
    return given ?? [everyone]
  }
  // The built-in table names actions that a service need not have.
  const responses = read.responses as readonly ResponseRule[]
  const given = responses === builtInResponses ? [] : responses
  for (const [index, { do: action }] of given.entries()) {
    if (Object.hasOwn(read.actions, action) || ownActionNames.includes(action)) continue
    faults.push(`  "responses[${index}].do" names "${action}", which is no member of "actions"`)
  }
  // A response is recorded under the name of its rule: the second one would never be given.
  for (const [index, { name }] of responses.entries()) {
    if (responses.findIndex((rule) => rule.name === name) === index) continue
    faults.push(`  "responses[${index}].name" is "${name}" again; each rule needs its own name`)
  }
  const escalation = Object.fromEntries(
    severities.map((severity) => [severity, escalationOf(severity)]),
  ) as unknown as IncidentResponseSettings['escalation']
  if (faults.length > 0) {
    throw new PARAPET_INCIDENT_RESPONSE_INVALID_OPTION(plugin, faults.join('\n'))
  }
  return { ...read, responses, escalation, respondMs: { ...RESPOND_MS, ...read.respondMs } }
}

/** The jobs of a service without durable ones. */
export function createOwnJobs(
  clock: Clock,
  onError: (error: unknown) => void,
  onNotice: (message: string) => void,
): Jobs {
  return createMemoryJobs({ clock, onError, onNotice, pollMs: 500 })
}
