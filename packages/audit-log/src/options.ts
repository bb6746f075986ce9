/**
 * The options of the plugin, and their validation. The file is long because each option is documented where
 * it is declared, and the checks of their values follow.
 */
import type { AuditFields } from './record/fields.ts'
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
import { OCSF_CLASSES } from './formats/ocsf.ts'
import { parseWitnessKey } from './log/cosignature.ts'
import { isKeyName, parseVerifierKey } from './log/signed-note.ts'
import type { PemKey, RemoteKey } from './log/signing-key.ts'
import { isActionName, type ActionTable } from './record/actions.ts'
import type { AuditRecord } from './record/leaf.ts'
import type { FieldRule } from './record/marks.ts'
import { isMarkable, MARKABLE } from './record/texts.ts'
import type { AuditSink } from './log/sink.ts'

/**
 * As `key`: makes a new `key.pem` although the log exists and its key is gone. The checkpoints so far
 * can then be verified with the lost key's public key only, and nothing proves any more that they
 * were made before the loss.
 */
export const replaceLostKey: unique symbol = Symbol('replaceLostKey')

/**
 * As `directory`: a new temporary folder, which is removed when the app closes. For tests: all records
 * are lost then.
 */
export const ephemeralDirectory: unique symbol = Symbol('ephemeralDirectory')

/** Options of `app.register`. */
export interface AuditLogOptions {
  /** The permanent name of the log: a URL without its scheme, `example.org/audit`. */
  readonly origin: string
  /** The folder of the spool, the signing key and, without `sql`, the log. @default 'audit-log' */
  readonly directory?: string | typeof ephemeralDirectory
  /** Stores the log in PostgreSQL or PGlite, for one instance or many. @default the directory */
  readonly sql?: SqlClient
  /** Whether this instance creates and migrates the tables of `sql`. @default true */
  readonly migrate?: boolean
  /** Whether this instance moves records from the inbox into the log. @default true */
  readonly sequencer?: boolean
  /** The Ed25519 key that signs checkpoints. @default `key.pem` in `directory`, made at the first start */
  readonly key?: PemKey | RemoteKey | KeyObject | typeof replaceLostKey
  /** Earlier keys of this log: public keys as `app.audit.verifierKey`, or private ones in PEM. @default [] */
  readonly formerKeys?: readonly (string | PemKey)[]
  /** Authenticates the rows of the inbox: at least 32 bytes. @default derived from `key` */
  readonly writerKey?: Uint8Array
  /** The key for hashes of values and subjects: at least 32 bytes. @default none: `hmac` and `pii` are refused */
  readonly hashKey?: Uint8Array
  /** Encrypts the keys of subjects. @default none: `pii` is refused */
  readonly cipher?: Cipher
  /** The actions that may be recorded. @default any well-formed name */
  readonly actions?: ActionTable
  /** Rules for fields by path: `ip`, `data.email`. @default only secret names are redacted */
  readonly fields?: Readonly<Record<string, FieldRule>>
  /** Whose data a record without a principal is, for `pii` and `pii-or-clear`. @default nobody's */
  readonly subjectOf?: (fields: AuditFields) => string | undefined
  /** Reads the principal, if the app's login does not set `request.principal`. @default request.principal */
  readonly principal?: PrincipalMapping
  /** Whether every security event is recorded. @default true */
  readonly recordEvents?: boolean
  readonly spool?: {
    /** The maximum size of the spool. @default 1_073_741_824 (1 GiB) */
    readonly maxBytes?: number
    /** The maximum size of one spool file. @default 16_777_216 (16 MiB) */
    readonly segmentBytes?: number
  }
  /** The pause between two steps of the log; each step makes a checkpoint. @default 1000 */
  readonly integrateIntervalMs?: number
  /** Receivers of the log. @default [] */
  readonly sinks?: readonly AuditSink[]
  /** The deadline of one delivery to a sink. @default 10_000 */
  readonly sinkDeadlineMs?: number
  /** The longest that one call of the database, the key, the cipher or `publishCheckpoint` may take. @default 10_000 */
  readonly portDeadlineMs?: number
  /** How long a record may wait for the log before `audit_log.stalled` is emitted. @default 60_000 */
  readonly stallMs?: number
  /** The alert rules. @default builtInRules */
  readonly alerts?: readonly AlertRule[]
  /** How long `app.audit.prune()` keeps records. */
  readonly retention?: {
    /** Days; 0: forever. @default 0 */
    readonly days?: number
    /** Days by action name or prefix (`user.*`). @default {} */
    readonly byAction?: Readonly<Record<string, number>>
    /** Whether a record is on legal hold. @default no record is */
    readonly isOnHold?: (record: AuditRecord) => boolean
  }
  /** Publishes each checkpoint where the operator of the log cannot change it. @default not published */
  readonly publishCheckpoint?: (note: string) => Promise<void>
  /** A witness that cosigns checkpoints; `audit-log verify --witness` requires it. @default none */
  readonly witness?: {
    /** The submission prefix of the witness. */
    readonly url: string
    /** Its verifier key, `name+id+key` of type 0x04. @see https://c2sp.org/tlog-cosignature */
    readonly key: string
    /** The pause between two submissions. @default 10_000 */
    readonly intervalMs?: number
  }
  /** The source of time. @default the system clock */
  readonly clock?: Clock
}

const MIB = 1024 * 1024
const DAY_MAX = 36_500
const HASH_KEY_BYTES = 32

/** One reader per option; a test compares the table with the README. */
export const optionTable = {
  origin: option.custom<string>((value) =>
    typeof value === 'string' && value.length <= 255 && isKeyName(value) && !value.includes('://')
      ? undefined
      : 'must be a name like "example.org/audit": at most 255 characters, no whitespace, no "+", no scheme',
  ),
  directory: option.custom<string | typeof ephemeralDirectory>(
    (value) =>
      value === ephemeralDirectory || (typeof value === 'string' && value !== '')
        ? undefined
        : `must be a path or the symbol ephemeralDirectory, got a ${typeof value}`,
    { default: 'audit-log' },
  ),
  sql: option.optional(option.port<SqlClient>(['query', 'transaction'])),
  migrate: option.boolean({ default: true }),
  sequencer: option.boolean({ default: true }),
  key: option.optional(
    option.custom<PemKey | RemoteKey | KeyObject | typeof replaceLostKey>((value) =>
      (typeof value === 'object' && value !== null) || value === replaceLostKey
        ? undefined
        : `must be { file }, { pem }, a KeyObject, { publicKey, sign } or the symbol replaceLostKey, got a ${typeof value}`,
    ),
  ),
  formerKeys: option.list(option.custom<string | PemKey>(checkFormerKey), {
    max: 100,
    default: [],
  }),
  writerKey: option.optional(
    option.custom<Uint8Array>((value) =>
      value instanceof Uint8Array && value.length >= HASH_KEY_BYTES
        ? undefined
        : `must be a Uint8Array of at least ${HASH_KEY_BYTES} bytes`,
    ),
  ),
  hashKey: option.optional(
    option.custom<Uint8Array>((value) =>
      value instanceof Uint8Array && value.length >= HASH_KEY_BYTES
        ? undefined
        : `must be a Uint8Array of at least ${HASH_KEY_BYTES} bytes`,
    ),
  ),
  cipher: option.optional(option.port<Cipher>(['seal', 'open'])),
  actions: option.optional(option.custom<ActionTable>(checkActions)),
  fields: option.map(option.oneOf<FieldRule>(['drop', 'hmac', 'pii', 'pii-or-clear']), {
    default: {},
  }),
  subjectOf: option.optional(option.callback<NonNullable<AuditLogOptions['subjectOf']>>()),
  principal: option.optional(option.callback<PrincipalMapping>()),
  recordEvents: option.boolean({ default: true }),
  spool: optionGroup({
    maxBytes: option.bytes({ min: MIB, default: 1024 * MIB }),
    segmentBytes: option.bytes({ min: 64 * 1024, max: 256 * MIB, default: 16 * MIB }),
  }),
  integrateIntervalMs: option.milliseconds({ max: 60_000, default: 1000 }),
  sinks: option.list(option.custom<AuditSink>(checkSink), { max: 32, default: [] }),
  sinkDeadlineMs: option.milliseconds({ max: 55_000, default: 10_000 }),
  portDeadlineMs: option.milliseconds({ max: 55_000, default: 10_000 }),
  stallMs: option.milliseconds({ min: 1000, default: 60_000 }),
  alerts: option.custom<readonly AlertRule[]>(checkRules, { default: builtInRules }),
  retention: optionGroup({
    days: option.integer({ max: DAY_MAX, default: 0 }),
    byAction: option.map(option.integer({ min: 1, max: DAY_MAX }), { default: {} }),
    isOnHold: option.callback<(record: AuditRecord) => boolean>({ default: () => false }),
  }),
  publishCheckpoint: option.optional(option.callback<(note: string) => Promise<void>>()),
  witness: optionGroup({
    url: option.optional(option.custom<string>(checkUrl)),
    key: option.optional(option.custom<string>(checkWitnessKey)),
    intervalMs: option.milliseconds({ min: 1000, max: 3_600_000, default: 10_000 }),
  }),
  clock: option.port<Clock>(['now', 'schedule'], { default: systemClock }),
} satisfies Record<keyof AuditLogOptions, OptionReader<unknown>>

/** The options with all defaults filled in. */
export type AuditLogSettings = OptionSettings<typeof optionTable>

/** Validates the options at boot. @throws PARAPET_AUDIT_LOG_INVALID_OPTION */
export function resolveOptions(options: unknown): AuditLogSettings {
  const settings = readOptions(
    '@parapet/audit-log',
    options,
    optionTable,
    PARAPET_AUDIT_LOG_INVALID_OPTION,
  )
  const names = settings.sinks.map(({ name }) => name)
  if (new Set(names).size < names.length || names.includes('alerts')) {
    refuse('"sinks" must have different names, and none may be named "alerts"')
  }
  const { key } = settings
  if (typeof key === 'object' && 'sign' in key && settings.writerKey === undefined) {
    refuse(
      '"writerKey" must be set when "key" is remote: all instances need the same 32 secret bytes',
    )
  }
  const { witness } = settings
  if ((witness.url === undefined) !== (witness.key === undefined)) {
    refuse('"witness" must have both "url" and "key"')
  }
  if (settings.cipher !== undefined && settings.hashKey === undefined) {
    refuse('"hashKey" must be set when "cipher" is set, because it hashes the ids of subjects')
  }
  for (const path of Object.keys(settings.fields)) {
    if (isFieldPath(path)) continue
    const known = `${MARKABLE.join(', ')}, "data" or a member of it ("data.email"), "changes.email"`
    refuse(`"fields" must name ${known}; got "${path}"`)
  }
  const rules = Object.values(settings.fields)
  const seals = rules.some((rule) => rule === 'pii' || rule === 'pii-or-clear')
  if (seals && settings.cipher === undefined) {
    refuse('"cipher" must be set when "fields" has a rule "pii"')
  }
  if (rules.includes('hmac') && settings.hashKey === undefined) {
    refuse('"hashKey" must be set when "fields" has a rule "hmac"')
  }
  return settings
}

function refuse(fault: string): never {
  throw new PARAPET_AUDIT_LOG_INVALID_OPTION('@parapet/audit-log', `  ${fault}`)
}

/** A rule for anything else would protect nothing. */
function isFieldPath(path: string): boolean {
  const isMember = /^(?:data|changes)(?:\.[^.]+)+$/.test(path)
  return isMember || path === 'data' || isMarkable(path)
}

const FIELD_TYPES = ['text', 'integer', 'number', 'boolean', 'ids', 'json']
/** The members of an action definition, and the values of those that have a fixed list. */
const DEFINITION: Readonly<Record<string, readonly string[] | undefined>> = {
  durability: ['durable', 'deferred'],
  whenUnavailable: ['closed', 'open'],
  phases: ['outcome', 'attempt+outcome'],
  resource: undefined,
  data: undefined,
  ocsf: Object.keys(OCSF_CLASSES),
}

function checkActions(value: unknown): string | undefined {
  if (typeof value !== 'object' || value === null)
    return 'must be an object with one definition per action'
  for (const [name, definition] of Object.entries(value)) {
    if (!isActionName(name) || name.startsWith('audit_log.')) {
      return `must have names like "user.role.change" outside "audit_log.", got "${name}"`
    }
    for (const [key, member] of Object.entries((definition ?? {}) as object)) {
      if (!(key in DEFINITION)) {
        const known = Object.keys(DEFINITION).join(', ')
        return `has the unknown member "${key}" in "${name}", known are ${known}`
      }
      const allowed = DEFINITION[key]
      if (allowed !== undefined && !allowed.includes(member as string)) {
        return `must have one of ${allowed.join(', ')} as "${key}" of "${name}"`
      }
    }
    for (const type of Object.values((definition as { data?: object }).data ?? {})) {
      if (!FIELD_TYPES.includes(String(type).replace(/\?$/, ''))) {
        return `has the unknown field type "${String(type)}" in "${name}", known are ${FIELD_TYPES.join(', ')}`
      }
    }
  }
  return undefined
}

function checkFormerKey(value: unknown): string | undefined {
  const isKey =
    typeof value === 'string'
      ? parseVerifierKey(value) !== undefined
      : typeof value === 'object' && value !== null && ('file' in value || 'pem' in value)
  return isKey ? undefined : 'must be a public key (app.audit.verifierKey), { file } or { pem }'
}

function checkUrl(value: unknown): string | undefined {
  const isHttp = URL.canParse(String(value)) && /^https?:$/.test(new URL(String(value)).protocol)
  return isHttp ? undefined : 'must be a URL that starts with http:// or https://'
}

function checkWitnessKey(value: unknown): string | undefined {
  return typeof value === 'string' && parseWitnessKey(value) !== undefined
    ? undefined
    : 'must be the verifier key of the witness: "name+id+key" with the signature type 0x04'
}

function checkSink(value: unknown): string | undefined {
  const sink = value as Partial<AuditSink> | null
  return typeof sink === 'object' &&
    typeof sink?.deliver === 'function' &&
    /^[A-Za-z0-9_-]{1,64}$/.test(sink.name ?? '')
    ? undefined
    : 'must be a sink with "deliver" and a "name" of 1 to 64 letters, digits, "-" or "_"'
}
