/** The options of the plugin, their defaults, and the table that reads them. */
import {
  option,
  optionGroup,
  parseCipherKeys,
  readOptions,
  systemClock,
  type Cipher,
  type Clock,
  type Jobs,
  type OptionReader,
  type OptionSettings,
  type Principal,
  type PrincipalMapping,
  type SqlClient,
  type Store,
} from '@parapet/kit'
import type { FastifyRequest } from 'fastify'
import type { ConsentPurpose } from './consent/purpose.ts'
import { PARAPET_PRIVACY_INVALID_OPTION } from './errors.ts'
import type { ForgetKeys } from './erasure/erase.ts'
import type { Processor } from './erasure/processor.ts'
import type { ArchiveParts } from './export/archive-parts.ts'
import { readSigningKey } from './identity/receipts.ts'
import type { Ledger } from './ledger/ledger.ts'
import { requestTypes, type RequestType } from './requests/request.ts'
import type { DeliverMessage, FindSubject, Verification } from './service/context.ts'
import type { NamedSchema } from './sources/inventory.ts'
import type { Controller } from './sources/processing-register.ts'
import type { PrivacySource } from './sources/source.ts'
import type { Records } from './storage/records.ts'

/** Whether the caller has shown a fresh second factor. What it throws is the response. */
export type StepUp = (request: FastifyRequest, principal: Principal) => boolean | Promise<boolean>

/** Whether the caller is a privacy officer. Any result but `true` is answered with 403. */
export type OfficerGuard = (request: FastifyRequest) => boolean | Promise<boolean>

/** The options of the plugin. */
export interface PrivacyOptions {
  /** Who answers for the data. */
  readonly controller: Controller
  /**
   * Base64url of at least 32 random bytes, from which pseudonyms and the key of receipts are derived. It
   * never changes: with another one no subject is found in the ledger, in requests or in consents.
   */
  readonly secret: string
  /** Keys that encrypt what is stored, as `parseCipherKeys` of kit reads them, the current one first. */
  readonly keys?: string
  /** Encrypts what is stored, in place of `keys`. */
  readonly cipher?: Cipher
  /** Ed25519 private key in PEM, which signs receipts. @default derived from `secret` */
  readonly signingKey?: string
  /** The database. @default memory, which is lost on restart */
  readonly sql?: SqlClient
  /** Another storage of requests, consents and holds. @default `sql`, or memory */
  readonly records?: Records
  /** Another storage of archives, such as a folder. @default `sql`, or memory */
  readonly archives?: ArchiveParts
  /** The erasure ledger. Keep it where a restore of the data does not reach. @default `sql`, or memory */
  readonly ledger?: Ledger
  /** Tells other instances of changed consents. @default they notice after `consentCacheMs` */
  readonly store?: Store
  /** Durable jobs, which the application starts and closes. @default memory, for one process */
  readonly jobs?: Jobs
  /** The sources of personal data; `app.privacy.source` adds more. @default [] */
  readonly sources?: readonly PrivacySource[]
  /** Further schemas to search for members that are marked by `personal`. @default [] */
  readonly schemas?: readonly NamedSchema[]
  /** Whether a member is encrypted, by its schema. @default it has a member `x-encrypted` */
  readonly isEncrypted?: (schema: Readonly<Record<string, unknown>>) => boolean
  /** Processors that get a notice of each erasure. @default [] */
  readonly processors?: readonly Processor[]
  /** Purposes of consent, by name. @default {} */
  readonly purposes?: Readonly<Record<string, ConsentPurpose>>
  /**
   * How the identity is proved, by type of request. @default `both` for access, portability and erasure and
   * `token` for the others; only what the options `deliver` and `stepUp` allow
   */
  readonly verify?: Partial<Readonly<Record<RequestType, Verification>>>
  readonly stepUp?: StepUp
  /** Sends tokens and news to a subject. */
  readonly deliver?: DeliverMessage
  /** Finds the subject behind a contact, for requests without a login. @default none are found */
  readonly findSubject?: FindSubject
  /** How many requests by contact one address may send in an hour, 1 to 10 000. @default 20 */
  readonly contactsPerHour?: number
  /** How many requests a subject may open in a day, 1 to 1000. @default 20 */
  readonly requestsPerDay?: number
  /** How many decisions on consents of a subject are stored in a day, 1 to 1000; taking one back is always. @default 50 */
  readonly consentsPerDay?: number
  /** Destroys the keys of a subject. */
  readonly forget?: ForgetKeys
  /** @default nobody is an officer */
  readonly officer?: OfficerGuard
  /** Types of requests that an officer approves. @default rectification, restriction, objection */
  readonly approve?: readonly RequestType[]
  /** Whether findings of the lint stop the boot. @default 'error' */
  readonly lint?: 'error' | 'warn'
  /** When the retention sweep runs: five cron fields in UTC. @default '30 3 * * *' */
  readonly sweepSchedule?: string
  /** Whether the scheduled sweep only reports. @default false */
  readonly sweepDryRun?: boolean
  /** How long a request waits for its confirmation, 60 000 to 2 592 000 000. @default 86 400 000 */
  readonly confirmationTtlMs?: number
  /** How long an archive is kept, 60 000 to 2 592 000 000. @default 604 800 000 */
  readonly archiveTtlMs?: number
  /** After how many days what was anonymised is removed, 0 to 3650. @default 30 */
  readonly removeAfterDays?: number
  /** After how many days backups are deleted, as receipts say; 0 to 3650. @default 90 */
  readonly backupsKeptDays?: number
  /** After how many days requests that have ended are deleted, with their receipts; 0 to 3650, 0: never. @default 1095 */
  readonly requestsKeptDays?: number
  /** How long an answer about consent is kept, 0 to 60 000. @default 5000 */
  readonly consentCacheMs?: number
  /** How long functions of the options may take, 1 to 60 000. @default 10 000 */
  readonly portDeadlineMs?: number
  /** How long a source may take for one part of its work, 1 to 600 000. @default 60 000 */
  readonly partDeadlineMs?: number
  /** The prefix of the routes. @default '/privacy' */
  readonly prefix?: string
  readonly principal?: PrincipalMapping
  readonly clock?: Clock
}

const controllerTable = {
  name: option.text({ max: 200 }),
  contact: option.text({ max: 500 }),
  officer: option.optional(option.text({ max: 500 })),
  jurisdiction: option.optional(option.text({ max: 10 })),
} satisfies Record<keyof Controller, OptionReader<unknown>>

const purposeTable = {
  title: option.text({ max: 500 }),
  noticeVersion: option.text({ max: 64 }),
  noticeText: option.text({ max: 100_000 }),
  categories: option.list(option.text(), { default: [] }),
  honoursGpc: option.boolean({ default: false }),
  expiresAfterDays: option.optional(option.integer({ min: 1, max: 3650 })),
} satisfies Record<keyof ConsentPurpose, OptionReader<unknown>>

const processorTable = {
  name: option.text({
    max: 63,
    pattern: /^[a-z][a-z0-9_-]*$/,
    form: 'a name of lower-case letters, digits, "_" and "-"',
  }),
  url: option.custom<string>(faultOfUrl),
  secret: option.text({ min: 32, max: 1024 }),
  subjectOf: option.optional(option.callback<NonNullable<Processor['subjectOf']>>()),
} satisfies Record<keyof Processor, OptionReader<unknown>>

const verification = option.optional(option.oneOf(['token', 'step-up', 'both']))
const verifyTable = Object.fromEntries(requestTypes.map((type) => [type, verification])) as Record<
  RequestType,
  typeof verification
>

const DAY_MS = 86_400_000

/** One reader for each option; a test compares the table with the README. */
export const optionTable = {
  controller: optionGroup(controllerTable),
  secret: option.custom<string>((value) =>
    typeof value === 'string' && /^[\w-]{43,1024}$/.test(value)
      ? undefined
      : 'must be base64url of at least 32 bytes',
  ),
  keys: option.optional(option.custom<string>(faultOfKeys)),
  cipher: option.optional(option.port<Cipher>(['seal', 'open'])),
  signingKey: option.optional(
    option.custom<string>((value) =>
      typeof value === 'string' && readSigningKey(value) !== undefined
        ? undefined
        : 'must be an Ed25519 private key in PEM',
    ),
  ),
  sql: option.optional(option.port<SqlClient>(['query', 'transaction'])),
  records: option.optional(
    option.port<Records>(['insert', 'find', 'save', 'list', 'missing', 'remove']),
  ),
  archives: option.optional(option.port<ArchiveParts>(['write', 'read', 'removeAll'])),
  ledger: option.optional(option.port<Ledger>(['append', 'read'])),
  store: option.optional(option.port<Store>(['publish', 'subscribe', 'count'])),
  jobs: option.optional(option.port<Jobs>(['define', 'enqueue', 'every', 'find'])),
  sources: option.list(
    option.custom<PrivacySource>(() => undefined),
    { max: 1000, default: [] },
  ),
  schemas: option.list(
    option.custom<NamedSchema>(() => undefined),
    { default: [] },
  ),
  isEncrypted: option.callback<NonNullable<PrivacyOptions['isEncrypted']>>({
    default: (schema) => Object.hasOwn(schema, 'x-encrypted'),
  }),
  processors: option.list(optionGroup(processorTable) as OptionReader<Processor>, {
    max: 100,
    default: [],
  }),
  purposes: option.map(optionGroup(purposeTable) as OptionReader<ConsentPurpose>, { default: {} }),
  verify: optionGroup(verifyTable),
  stepUp: option.optional(option.callback<StepUp>()),
  deliver: option.optional(option.callback<DeliverMessage>()),
  findSubject: option.optional(option.callback<FindSubject>()),
  contactsPerHour: option.integer({ min: 1, max: 10_000, default: 20 }),
  requestsPerDay: option.integer({ min: 1, max: 1000, default: 20 }),
  consentsPerDay: option.integer({ min: 1, max: 1000, default: 50 }),
  forget: option.optional(option.callback<ForgetKeys>()),
  officer: option.callback<OfficerGuard>({ default: () => false }),
  approve: option.list<RequestType>(option.oneOf(requestTypes), {
    default: ['rectification', 'restriction', 'objection'],
  }),
  lint: option.oneOf(['error', 'warn'], { default: 'error' }),
  sweepSchedule: option.text({ max: 100, default: '30 3 * * *' }),
  sweepDryRun: option.boolean({ default: false }),
  confirmationTtlMs: option.milliseconds({ min: 60_000, max: 30 * DAY_MS, default: DAY_MS }),
  archiveTtlMs: option.milliseconds({ min: 60_000, max: 30 * DAY_MS, default: 7 * DAY_MS }),
  removeAfterDays: option.integer({ max: 3650, default: 30 }),
  backupsKeptDays: option.integer({ max: 3650, default: 90 }),
  requestsKeptDays: option.integer({ max: 3650, default: 1095 }),
  consentCacheMs: option.milliseconds({ min: 0, max: 60_000, default: 5000 }),
  portDeadlineMs: option.milliseconds({ max: 60_000, default: 10_000 }),
  partDeadlineMs: option.milliseconds({ max: 600_000, default: 60_000 }),
  prefix: option.text({
    max: 200,
    pattern: /^(?:\/[\w.~-]+)+$/,
    form: 'a path such as "/privacy"',
    default: '/privacy',
  }),
  principal: option.optional(option.callback<PrincipalMapping>()),
  clock: option.port<Clock>(['now', 'schedule'], { default: systemClock }),
} satisfies Record<keyof PrivacyOptions, OptionReader<unknown>>

type Read = OptionSettings<typeof optionTable>

/** The options with every default filled in. */
export interface PrivacySettings extends Omit<Read, 'verify' | 'controller'> {
  readonly controller: Controller
  readonly verify: Readonly<Record<RequestType, Verification>>
}

/** Reads the options once, at boot. @throws PARAPET_PRIVACY_INVALID_OPTION */
export function resolveOptions(options: unknown): PrivacySettings {
  const read = readOptions('@parapet/privacy', options, optionTable, PARAPET_PRIVACY_INVALID_OPTION)
  const faults = faultsTogether(read)
  if (faults.length > 0) {
    throw new PARAPET_PRIVACY_INVALID_OPTION('@parapet/privacy', faults.join('\n'))
  }
  const verify = Object.fromEntries(
    requestTypes.map((type) => [type, read.verify[type] ?? defaultVerification(read, type)]),
  ) as Record<RequestType, Verification>
  return { ...read, controller: withoutUndefined(read.controller), verify }
}

const STRONG = new Set<RequestType>(['access', 'portability', 'erasure'])

function defaultVerification({ deliver, stepUp }: Read, type: RequestType): Verification {
  if (deliver === undefined) return 'step-up'
  return stepUp !== undefined && STRONG.has(type) ? 'both' : 'token'
}

function faultsTogether(read: Read): string[] {
  const { keys, cipher, deliver, stepUp, verify, processors } = read
  const needs = (kind: Verification) =>
    requestTypes.some((type) => verify[type] === kind || verify[type] === 'both')
  const names = processors.map(({ name }) => name)
  return [
    keys === undefined && cipher === undefined && '"keys" must be given, or "cipher"',
    deliver === undefined &&
      stepUp === undefined &&
      '"deliver" or "stepUp" must be given: without them nobody can prove an identity',
    deliver === undefined && needs('token') && '"verify" needs the option "deliver" for tokens',
    stepUp === undefined && needs('step-up') && '"verify" needs the option "stepUp"',
    new Set(names).size < names.length && '"processors" must have different names',
  ].flatMap((fault) => (fault === false ? [] : [`  ${fault}`]))
}

function faultOfKeys(value: unknown): string | undefined {
  try {
    parseCipherKeys(value as string)
    return undefined
  } catch {
    return 'must be written as id:base64url, separated by commas, the current key first'
  }
}

function faultOfUrl(value: unknown): string | undefined {
  if (typeof value !== 'string' || !URL.canParse(value)) return 'must be a URL'
  const { protocol, hostname } = new URL(value)
  const isLoopback = ['127.0.0.1', '[::1]', 'localhost'].includes(hostname)
  if (protocol === 'https:' || (protocol === 'http:' && isLoopback)) return undefined
  return 'must begin with https: (http: only on a loopback address)'
}

function withoutUndefined(controller: Read['controller']): Controller {
  const members = Object.entries(controller).filter(([, value]) => value !== undefined)
  return Object.freeze(Object.fromEntries(members)) as unknown as Controller
}
