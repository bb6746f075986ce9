/** The options, their defaults and their reader. */
import type { KeyObject } from 'node:crypto'
import {
  option,
  optionGroup,
  readOptions,
  systemClock,
  type Cipher,
  type Clock,
  type OptionReader,
  type OptionSettings,
  type PrincipalMapping,
  type SqlClient,
} from '@parapet/kit'
import { checkRules } from './alerts/check-rules.ts'
import { builtInRules, type AlertRule } from './alerts/rules.ts'
import { PARAPET_AUDIT_LOG_INVALID_OPTION } from './errors.ts'
import { isKeyName } from './log/note.ts'
import type { PemKey, RemoteKey } from './log/signer.ts'
import { isActionName, type ActionTable } from './record/actions.ts'
import type { AuditRecord } from './record/leaf.ts'
import type { FieldRule } from './record/protect.ts'
import type { AuditSink } from './sinks/follower.ts'
import { KINDS } from './sinks/mappers.ts'

/** What `app.register` takes. */
export interface AuditLogOptions {
  /** Names the log for ever: a URL without its scheme, `example.org/audit`. */
  readonly origin: string
  /** Where the spool, the signing key and, without `sql`, the log itself are kept. @default 'audit-log' */
  readonly directory?: string
  /** Keeps the log in PostgreSQL or PGlite instead, for one instance or many. @default the directory */
  readonly sql?: SqlClient
  /** Whether this instance may create and change the tables of `sql`. @default true */
  readonly migrate?: boolean
  /** Whether this instance may move records from the inbox into the log. @default true */
  readonly sequencer?: boolean
  /** Signs the checkpoints (Ed25519). @default a key file made in `directory` at the first start */
  readonly key?: PemKey | RemoteKey | KeyObject
  /** Keys the hashes of values and subjects: at least 32 bytes. @default none: marks and `hmac` rules are refused */
  readonly hashKey?: Uint8Array
  /** Seals the keys of subjects. @default none: `pii` is refused */
  readonly cipher?: Cipher
  /** The registry of actions. @default any well-formed name */
  readonly actions?: ActionTable
  /** What to do with fields, by path: `ip`, `data.email`. @default nothing beyond secret names */
  readonly fields?: Readonly<Record<string, FieldRule>>
  /** Who is asking, in an app whose login does not set `request.principal`. @default nobody else */
  readonly principal?: PrincipalMapping
  /** Whether every security event becomes a record. @default true */
  readonly recordEvents?: boolean
  /** Bounds of the spool. */
  readonly spool?: { readonly maxBytes?: number; readonly segmentBytes?: number }
  /** The pause between two steps of the log, each with a checkpoint. @default 1000 */
  readonly integrateIntervalMs?: number
  /** Where the log is sent. @default nowhere */
  readonly sinks?: readonly AuditSink[]
  /** How long a sink may take for one delivery. @default 10 000 */
  readonly sinkDeadlineMs?: number
  /** The alert rules. @default the built-in ones */
  readonly alerts?: readonly AlertRule[]
  /** How long records are kept. */
  readonly retention?: {
    /** @default 0: for ever */
    readonly days?: number
    /** Days by action name, or prefix with `*`. @default none */
    readonly byAction?: Readonly<Record<string, number>>
    /** Whether a record is on legal hold. @default none is */
    readonly isOnHold?: (record: AuditRecord) => boolean
  }
  /** Takes each checkpoint to a place that whoever runs the log cannot change. @default nowhere */
  readonly publishCheckpoint?: (note: string) => Promise<void>
  /** @default the machine's clock */
  readonly clock?: Clock
}

const MIB = 1024 * 1024
const DAY_MAX = 36_500
const HASH_KEY_BYTES = 32

/** One reader for each option; a test compares the table with the README. */
export const optionTable = {
  origin: option.custom<string>((value) =>
    typeof value === 'string' && value.length <= 255 && isKeyName(value) && !value.includes('://')
      ? undefined
      : 'must be a name like "example.org/audit": no blanks, no "+", no scheme',
  ),
  directory: option.text({ default: 'audit-log' }),
  sql: option.optional(option.port<SqlClient>(['query', 'transaction'])),
  migrate: option.boolean({ default: true }),
  sequencer: option.boolean({ default: true }),
  key: option.optional(
    option.custom<PemKey | RemoteKey | KeyObject>((value) =>
      typeof value === 'object' && value !== null
        ? undefined
        : 'must be { file }, { pem }, a KeyObject or { publicKey, sign }',
    ),
  ),
  hashKey: option.optional(
    option.custom<Uint8Array>((value) =>
      value instanceof Uint8Array && value.length >= HASH_KEY_BYTES
        ? undefined
        : `must be at least ${HASH_KEY_BYTES} bytes`,
    ),
  ),
  cipher: option.optional(option.port<Cipher>(['seal', 'open'])),
  actions: option.optional(option.custom<ActionTable>(checkActions)),
  fields: option.map(option.oneOf<FieldRule>(['drop', 'hmac', 'pii']), { default: {} }),
  principal: option.optional(option.callback<PrincipalMapping>()),
  recordEvents: option.boolean({ default: true }),
  spool: optionGroup({
    maxBytes: option.bytes({ min: MIB, default: 1024 * MIB }),
    segmentBytes: option.bytes({ min: 64 * 1024, max: 256 * MIB, default: 16 * MIB }),
  }),
  integrateIntervalMs: option.milliseconds({ max: 60_000, default: 1000 }),
  sinks: option.list(option.custom<AuditSink>(checkSink), { max: 32, default: [] }),
  sinkDeadlineMs: option.milliseconds({ max: 55_000, default: 10_000 }),
  alerts: option.custom<readonly AlertRule[]>(checkRules, { default: builtInRules }),
  retention: optionGroup({
    days: option.integer({ max: DAY_MAX, default: 0 }),
    byAction: option.map(option.integer({ min: 1, max: DAY_MAX }), { default: {} }),
    isOnHold: option.callback<(record: AuditRecord) => boolean>({ default: () => false }),
  }),
  publishCheckpoint: option.optional(option.callback<(note: string) => Promise<void>>()),
  clock: option.port<Clock>(['now', 'schedule'], { default: systemClock }),
} satisfies Record<keyof AuditLogOptions, OptionReader<unknown>>

/** The options with every default filled in. */
export type AuditLogSettings = OptionSettings<typeof optionTable>

/** Reads the options, once, at boot. @throws PARAPET_AUDIT_LOG_INVALID_OPTION */
export function resolveOptions(options: unknown): AuditLogSettings {
  const settings = readOptions(
    '@parapet/audit-log',
    options,
    optionTable,
    PARAPET_AUDIT_LOG_INVALID_OPTION,
  )
  const names = settings.sinks.map(({ name }) => name)
  if (new Set(names).size < names.length || names.includes('alerts')) {
    refuse('sinks: must have different names, none of them "alerts"')
  }
  if (settings.cipher !== undefined && settings.hashKey === undefined) {
    refuse('hashKey: must be given with "cipher", to name the subjects')
  }
  const rules = Object.values(settings.fields)
  if (rules.includes('pii') && settings.cipher === undefined) {
    refuse('cipher: must be given with the rule "pii"')
  }
  if (rules.includes('hmac') && settings.hashKey === undefined) {
    refuse('hashKey: must be given with the rule "hmac"')
  }
  return settings
}

function refuse(fault: string): never {
  throw new PARAPET_AUDIT_LOG_INVALID_OPTION('@parapet/audit-log', `  ${fault}`)
}

const FIELD_TYPES = ['text', 'integer', 'number', 'boolean', 'ids', 'json']
const DEFINITION: Readonly<Record<string, readonly string[] | undefined>> = {
  durability: ['durable', 'deferred'],
  whenUnavailable: ['closed', 'open'],
  phases: ['outcome', 'attempt+outcome'],
  resource: undefined,
  data: undefined,
  ocsf: Object.keys(KINDS),
}

function checkActions(value: unknown): string | undefined {
  if (typeof value !== 'object' || value === null) return 'must be a table of actions'
  for (const [name, definition] of Object.entries(value)) {
    if (!isActionName(name) || name.startsWith('audit_log.')) {
      return `has "${name}"; an action is named like "user.role.change"`
    }
    for (const [key, member] of Object.entries((definition ?? {}) as object)) {
      if (!(key in DEFINITION)) return `has "${key}" in "${name}", which is unknown`
      const allowed = DEFINITION[key]
      if (allowed !== undefined && !allowed.includes(member as string)) {
        return `needs one of ${allowed.join(', ')} for "${key}" of "${name}"`
      }
    }
    for (const type of Object.values((definition as { data?: object }).data ?? {})) {
      if (!FIELD_TYPES.includes(String(type).replace(/\?$/, ''))) {
        return `has an unknown field type in "${name}"`
      }
    }
  }
  return undefined
}

function checkSink(value: unknown): string | undefined {
  const sink = value as Partial<AuditSink> | null
  return typeof sink === 'object' &&
    typeof sink?.deliver === 'function' &&
    /^[A-Za-z0-9_-]{1,64}$/.test(sink.name ?? '')
    ? undefined
    : 'must be a sink with a name and deliver()'
}
