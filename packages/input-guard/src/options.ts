/** The options of the plugin, their defaults, and the tables that read them. */
import {
  option,
  optionGroup,
  readOptions,
  systemClock,
  type Clock,
  type OptionReader,
  type OptionSettings,
} from '@parapet/kit'
import type { Ajv } from 'ajv'
import { PARAPET_INPUT_GUARD_INVALID_OPTION } from './errors.ts'
import type { FetchPorts } from './outgoing/ports.ts'
import type { HtmlEngine } from './types/check.ts'

/** Limits of connections. */
export interface ConnectionGuardOptions {
  /** Requests of one connection that run at the same time; later ones wait. @default 4 */
  readonly maxRunning?: number
  /** Requests of one connection that wait; one more closes it. @default 64 */
  readonly maxWaiting?: number
  /** Bytes of responses that a client has not read; a single response may be larger. @default 8 388 608 */
  readonly maxUnreadBytes?: number
  /** Requests of one connection in its life; then it is closed politely. @default 10 000 */
  readonly maxRequestsPerConnection?: number
  /** Open connections of one IPv4 address or IPv6 /64; a proxy in front counts as one. @default 1000 */
  readonly maxConnectionsPerAddress?: number
  /** How long the headers may take, unless the server has a limit. @default 10 000 */
  readonly headTimeoutMs?: number
  /** How long a request with its body may take, unless the server has a limit. @default 60 000 */
  readonly requestTimeoutMs?: number
}

/** Limits of JSON bodies, checked before they are parsed. */
export interface JsonGuardOptions {
  /** Objects and arrays within each other. @default 32 */
  readonly maxDepth?: number
  /** Keys of the whole body. @default 10 000 */
  readonly maxKeys?: number
  /** Items of one array. @default 10 000 */
  readonly maxArrayLength?: number
  /** Bytes of one string as it is written. @default 262 144 */
  readonly maxStringBytes?: number
  /** Refuses keys that begin with `$`, for databases that read them as operators. @default false */
  readonly refuseOperators?: boolean
  /**
   * Refuses integers beyond 2^53 − 1 and numbers beyond the range of a double, which `JSON.parse` would change
   * silently (RFC 7493, section 2.2). @default true
   */
  readonly refuseInexactNumbers?: boolean
}

/** What schemas need beside themselves; see {@link InputGuardOptions}. */
export interface SchemaOptions {
  /** Replaces `sanitize-html`, for instance by DOMPurify in a worker. */
  readonly htmlEngine?: HtmlEngine
  /** Whether a domain receives mail, for `SafeEmail({ mx: true })`; rejects if that is unknown. */
  readonly mailDomain?: (domain: string) => Promise<boolean>
  /** How long {@link mailDomain} may take. @default 2000 */
  readonly mailDomainTimeoutMs?: number
  /** Adds keywords and formats to Ajv. */
  readonly configureAjv?: (ajv: Ajv) => void
  /** @default the system clock */
  readonly clock?: Clock
}

/** Limits of outgoing requests. */
export interface FetchOptions extends FetchPorts {
  /** Hosts that may be requested; `*.example.com` allows subdomains. @default every public host */
  readonly allowHosts?: readonly string[]
  /** @default [80, 443] */
  readonly ports?: readonly number[]
  /** @default ['https'] */
  readonly schemes?: readonly ('http' | 'https')[]
  /** @default 5 */
  readonly maxRedirects?: number
  /** Bytes of a response. @default 10 485 760 */
  readonly maxBytes?: number
  /** Of the whole request with its redirects and body. @default 10 000 */
  readonly timeoutMs?: number
}

/** What `app.register` takes. */
export interface InputGuardOptions extends SchemaOptions {
  /** `error` stops the boot if the input of a route is not bounded. @default 'warn' */
  readonly audit?: 'error' | 'warn' | 'off'
  /** Routes that the audit accepts, with the reason: `{ 'POST /hook': 'signed by the sender' }`. @default {} */
  readonly unguarded?: Readonly<Record<string, string>>
  /** Limits of connections. */
  readonly connections?: ConnectionGuardOptions
  /** Limits of JSON bodies. */
  readonly json?: JsonGuardOptions
  /** Media types that bodies may have. @default those that the app parses */
  readonly contentTypes?: readonly string[]
  /** `reject`: a parameter that is sent twice needs an array in its schema. @default 'reject' */
  readonly duplicateParameters?: 'reject' | 'allow'
  /** Parameters of a query string or form. @default 200 */
  readonly maxParameters?: number
  /** Lines of headers. @default 100 */
  readonly maxHeaders?: number
  /** Bytes of one header. @default 8192 */
  readonly maxHeaderBytes?: number
  /** Header and parameter names that ask for another method. @default the usual ones are refused */
  readonly methodOverride?: 'reject' | 'ignore'
  /** `report` finds members of responses that their schema does not declare. @default 'report' */
  readonly responses?: 'report' | 'off'
  /**
   * Bytes of a response that a handler sends as JSON text; it is parsed and filtered by the response schema of its
   * route. A longer one is refused. @default 1 048 576
   */
  readonly maxTextResponseBytes?: number
  /** Limits of `app.inputGuard.fetch`. */
  readonly fetch?: FetchOptions
}

const connectionTable = {
  maxRunning: option.integer({ min: 1, max: 1000, default: 4 }),
  maxWaiting: option.integer({ max: 10_000, default: 64 }),
  maxUnreadBytes: option.bytes({ default: 8_388_608 }),
  maxRequestsPerConnection: option.integer({ min: 1, default: 10_000 }),
  maxConnectionsPerAddress: option.integer({ min: 1, default: 1000 }),
  headTimeoutMs: option.milliseconds({ max: 600_000, default: 10_000 }),
  requestTimeoutMs: option.milliseconds({ max: 3_600_000, default: 60_000 }),
} satisfies Record<keyof ConnectionGuardOptions, OptionReader<unknown>>

const jsonTable = {
  // Deeper values would overflow the stack of code that walks them.
  maxDepth: option.integer({ min: 1, max: 1000, default: 32 }),
  maxKeys: option.integer({ min: 1, default: 10_000 }),
  maxArrayLength: option.integer({ min: 1, default: 10_000 }),
  maxStringBytes: option.bytes({ default: 262_144 }),
  refuseOperators: option.boolean({ default: false }),
  refuseInexactNumbers: option.boolean({ default: true }),
} satisfies Record<keyof JsonGuardOptions, OptionReader<unknown>>

const schemaTable = {
  htmlEngine: option.optional(option.port<HtmlEngine>(['sanitize'])),
  mailDomain: option.optional(option.callback<(domain: string) => Promise<boolean>>()),
  mailDomainTimeoutMs: option.milliseconds({ max: 60_000, default: 2000 }),
  configureAjv: option.optional(option.callback<(ajv: Ajv) => void>()),
  clock: option.port<Clock>(['now', 'schedule'], { default: systemClock }),
} satisfies Record<keyof SchemaOptions, OptionReader<unknown>>

const hostPattern = /^(?:\*\.)?[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?$/
const fetchTable = {
  allowHosts: option.optional(
    option.list(
      option.text({
        max: 253,
        pattern: hostPattern,
        form: 'a host name such as "api.example.com"',
      }),
    ),
  ),
  ports: option.list(option.integer({ min: 1, max: 65_535 }), { default: [80, 443] }),
  schemes: option.list(option.oneOf(['http', 'https']), { min: 1, default: ['https'] }),
  maxRedirects: option.integer({ max: 20, default: 5 }),
  maxBytes: option.bytes({ default: 10_485_760 }),
  timeoutMs: option.milliseconds({ max: 600_000, default: 10_000 }),
  lookup: option.optional(option.callback<NonNullable<FetchPorts['lookup']>>()),
  connect: option.optional(option.callback<NonNullable<FetchPorts['connect']>>()),
} satisfies Record<keyof FetchOptions, OptionReader<unknown>>

/** One reader for each option; a test compares the table with the README. */
export const optionTable = {
  audit: option.oneOf(['error', 'warn', 'off'], { default: 'warn' }),
  unguarded: option.map(option.text({ min: 3 }), { default: {} }),
  connections: optionGroup(connectionTable),
  json: optionGroup(jsonTable),
  contentTypes: option.optional(
    option.list(
      option.text({ pattern: /^[a-z]+\/[a-z0-9.+-]+$/, form: 'a type such as "application/json"' }),
      { min: 1 },
    ),
  ),
  duplicateParameters: option.oneOf(['reject', 'allow'], { default: 'reject' }),
  maxParameters: option.integer({ min: 1, default: 200 }),
  maxHeaders: option.integer({ min: 10, default: 100 }),
  maxHeaderBytes: option.bytes({ min: 256, default: 8192 }),
  methodOverride: option.oneOf(['reject', 'ignore'], { default: 'reject' }),
  responses: option.oneOf(['report', 'off'], { default: 'report' }),
  maxTextResponseBytes: option.bytes({ default: 1_048_576 }),
  fetch: optionGroup(fetchTable),
  ...schemaTable,
} satisfies Record<keyof InputGuardOptions, OptionReader<unknown>>

/** The options with every default filled in. */
export type InputGuardSettings = OptionSettings<typeof optionTable>
/** The options of connections with every default filled in. */
export type ConnectionSettings = OptionSettings<typeof connectionTable>
/** The options of outgoing requests with every default filled in. */
export type FetchSettings = OptionSettings<typeof fetchTable>
/** The options of schemas with every default filled in. */
export type SchemaSettings = OptionSettings<typeof schemaTable>
/** The options of JSON bodies with every default filled in. */
export type JsonSettings = OptionSettings<typeof jsonTable>

const NAME = '@parapet/input-guard'

/** Reads the options of the plugin once, at boot. @throws PARAPET_INPUT_GUARD_INVALID_OPTION */
export function resolveOptions(options: unknown): InputGuardSettings {
  return readOptions(NAME, options, optionTable, PARAPET_INPUT_GUARD_INVALID_OPTION)
}

/** Reads the options of `connectionGuard`. @throws PARAPET_INPUT_GUARD_INVALID_OPTION */
export function resolveConnectionOptions(options: unknown): ConnectionSettings {
  return readOptions(NAME, options, connectionTable, PARAPET_INPUT_GUARD_INVALID_OPTION)
}

/** Reads the options of `jsonGuard`. @throws PARAPET_INPUT_GUARD_INVALID_OPTION */
export function resolveJsonOptions(options: unknown): JsonSettings {
  return readOptions(NAME, options, jsonTable, PARAPET_INPUT_GUARD_INVALID_OPTION)
}

/** Reads the options of `guardedSchemas`. @throws PARAPET_INPUT_GUARD_INVALID_OPTION */
export function resolveSchemaOptions(options: unknown): SchemaSettings {
  return readOptions(NAME, options, schemaTable, PARAPET_INPUT_GUARD_INVALID_OPTION)
}

/** Reads the options of `createSafeFetch`. @throws PARAPET_INPUT_GUARD_INVALID_OPTION */
export function resolveFetchOptions(options: unknown): FetchSettings {
  return readOptions(NAME, options, fetchTable, PARAPET_INPUT_GUARD_INVALID_OPTION)
}
