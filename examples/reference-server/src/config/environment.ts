/** Reads the environment variables. Every one has a default; an empty variable counts as unset. */
import { BlockList, isIP } from 'node:net'
import { resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { option, readOptions, type OptionSettings } from '@parapet/kit'
import { PARAPET_REFERENCE_INVALID_ENVIRONMENT } from '../errors.ts'
import { readJson, readPem } from './key-text.ts'
import { requireKeys } from './required-keys.ts'

const logLevels = ['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent'] as const

/** The settings of this service, read once at start. Frozen. */
export interface Config {
  /** TCP port; 0 lets the operating system choose a free one. */
  readonly port: number
  /** Address to listen on. */
  readonly host: string
  /** Folder of the embedded database, its keys and the audit log. Absolute. */
  readonly dataDir: string
  /** PostgreSQL; `undefined`: the embedded database. May contain a password. */
  readonly databaseUrl: string | undefined
  /** Redis; `undefined`: the memory of this process. May contain a password. */
  readonly redisUrl: string | undefined
  readonly logLevel: (typeof logLevels)[number]
  /** Networks of the proxies whose `X-Forwarded-*` headers are trusted. `false`: none. */
  readonly trustProxy: string[] | false
  /** Origins whose pages may read the responses; `undefined`: none. */
  readonly corsOrigins: readonly string[] | undefined
  /** How long running requests may take to finish after SIGTERM or SIGINT. */
  readonly shutdownTimeoutMs: number
  /** The first administrator, created when there is no administrator. */
  readonly adminEmail: string | undefined
  readonly adminPassword: string | undefined
  /** Origin at which clients reach this service; issuer and audience of its access tokens. */
  readonly publicUrl: string
  /** PEM of the private key that signs access tokens; `undefined`: a new key at every start. */
  readonly signingKey: string | undefined
  readonly signingKeyPassphrase: string | undefined
  /** Secret behind the refresh tokens; `undefined`: a new secret at every start. */
  readonly sessionSecret: string | undefined
  /** Keyset that encrypts fields, in Tink's JSON; `undefined`: the saved one, or a new one. */
  readonly fieldKeyset: string | undefined
  /** Keys that encrypt second factors, the current one first; `undefined`: saved ones, or a new one. */
  readonly mfaKeys: string | undefined
  /** PEM of the Ed25519 key that signs the audit log; `undefined`: the one in `auditDir`. */
  readonly auditKey: string | undefined
  /** Folder of the audit log's spool. Absolute. `undefined`: a temporary folder, without a key. */
  readonly auditDir: string | undefined
}

/** The variables, each with its reader. A test compares the README's table with these names. */
export const variables = Object.freeze({
  NODE_ENV: option.optional(option.text({ max: 64 })),
  PORT: option.integer({ max: 65_535, default: 3000 }),
  HOST: option.text({ max: 255, pattern: /^[\w.:-]+$/, default: '127.0.0.1' }),
  DATA_DIR: option.text({ default: fileURLToPath(new URL('../../data', import.meta.url)) }),
  DATABASE_URL: option.optional(url('postgres:', 'postgresql:')),
  REDIS_URL: option.optional(url('redis:', 'rediss:')),
  LOG_LEVEL: option.oneOf(logLevels, { default: 'info' }),
  TRUST_PROXY: option.custom<string[] | false>(checkProxies, { default: false }),
  CORS_ORIGINS: option.optional(option.list(option.text({ max: 255 }))),
  SHUTDOWN_TIMEOUT_MS: option.integer({ min: 1, max: 600_000, default: 10_000 }),
  ADMIN_EMAIL: option.optional(option.text({ max: 254, pattern: /^[^\s@]+@[^\s@]+$/ })),
  ADMIN_PASSWORD: option.optional(option.text({ min: 12, max: 1024 })),
  PUBLIC_URL: option.custom<string>(checkPublicUrl, { default: 'http://localhost:3000' }),
  SIGNING_KEY: option.optional(option.text({ max: 16_384, pattern: /^-----BEGIN / })),
  SIGNING_KEY_PASSPHRASE: option.optional(option.text()),
  SESSION_SECRET: option.optional(option.text({ pattern: /^[\w-]{43,}$/ })),
  FIELD_KEYSET: option.optional(option.text({ max: 65_536, pattern: /^\{/ })),
  AUDIT_KEY: option.optional(option.text({ max: 16_384, pattern: /^-----BEGIN / })),
  AUDIT_DIR: option.optional(option.text()),
  MFA_KEYS: option.optional(
    option.text({ max: 4096, pattern: /^\d{1,10}:[\w-]{43}(?:,\d{1,10}:[\w-]{43})*$/ }),
  ),
})

/** Converts the variables whose value is not a string. */
const parsers: Readonly<Record<string, (text: string) => unknown>> = {
  PORT: parseInteger,
  SHUTDOWN_TIMEOUT_MS: parseInteger,
  TRUST_PROXY: parseList,
  CORS_ORIGINS: parseList,
  SIGNING_KEY: readPem,
  AUDIT_KEY: readPem,
  FIELD_KEYSET: readJson,
}

/**
 * Reads the configuration. Variables that this service does not use are ignored.
 *
 * @param env for instance `process.env`.
 * @throws PARAPET_REFERENCE_INVALID_ENVIRONMENT with every fault; the message contains no URL, since
 *   a URL may contain a password.
 * @throws PARAPET_REFERENCE_KEYS_MISSING
 */
export function readConfig(env: Readonly<Record<string, string | undefined>>): Config {
  const given: Record<string, unknown> = {}
  for (const name of Object.keys(variables)) {
    const text = env[name]
    if (text !== undefined && text !== '') given[name] = parsers[name]?.(text) ?? text
  }
  const settings = readOptions(
    '@parapet/reference-server',
    given,
    variables,
    PARAPET_REFERENCE_INVALID_ENVIRONMENT,
  )
  if ((settings.ADMIN_EMAIL === undefined) !== (settings.ADMIN_PASSWORD === undefined)) {
    const present = settings.ADMIN_EMAIL === undefined ? 'ADMIN_PASSWORD' : 'ADMIN_EMAIL'
    throw new PARAPET_REFERENCE_INVALID_ENVIRONMENT(
      '@parapet/reference-server',
      `  "ADMIN_EMAIL" and "ADMIN_PASSWORD" must be set together, got only "${present}"`,
    )
  }
  const config = Object.freeze({
    port: settings.PORT,
    host: settings.HOST,
    dataDir: resolve(settings.DATA_DIR),
    databaseUrl: settings.DATABASE_URL,
    redisUrl: settings.REDIS_URL,
    logLevel: settings.LOG_LEVEL,
    trustProxy: settings.TRUST_PROXY,
    corsOrigins: settings.CORS_ORIGINS,
    shutdownTimeoutMs: settings.SHUTDOWN_TIMEOUT_MS,
    adminEmail: settings.ADMIN_EMAIL,
    adminPassword: settings.ADMIN_PASSWORD,
    publicUrl: settings.PUBLIC_URL,
    signingKey: settings.SIGNING_KEY,
    signingKeyPassphrase: settings.SIGNING_KEY_PASSPHRASE,
    sessionSecret: settings.SESSION_SECRET,
    fieldKeyset: settings.FIELD_KEYSET,
    mfaKeys: settings.MFA_KEYS,
    auditKey: settings.AUDIT_KEY,
    auditDir: auditDirOf(settings),
  })
  requireKeys(config, settings.NODE_ENV)
  return config
}

/** With a key of its own, the log is in the database, so its spool may be anywhere that lasts. */
function auditDirOf({
  AUDIT_DIR,
  AUDIT_KEY,
  DATA_DIR,
}: OptionSettings<typeof variables>): string | undefined {
  if (AUDIT_DIR !== undefined) return resolve(AUDIT_DIR)
  return AUDIT_KEY === undefined ? undefined : resolve(DATA_DIR, 'audit')
}

/** Whether clients on the network reach this server without TLS, as far as the settings tell. */
export function servesWithoutTls({ host, publicUrl }: Config): boolean {
  return !isLoopback(host) && !publicUrl.startsWith('https:')
}

/** Text that is not a plain decimal number stays text, which the option reader then refuses. */
function parseInteger(text: string): unknown {
  return /^\d{1,15}$/.test(text) ? Number(text) : text
}

function parseList(text: string): string[] {
  return text.split(',').map((entry) => entry.trim())
}

function checkPublicUrl(value: unknown): string | undefined {
  return typeof value === 'string' && URL.canParse(value) && /^https?:\/\/[^/]+$/.test(value)
    ? undefined
    : 'must be an origin without a path, such as "https://api.example.com"'
}

function url(...protocols: readonly string[]) {
  return option.custom<string>((value) =>
    typeof value === 'string' && URL.canParse(value) && protocols.includes(new URL(value).protocol)
      ? undefined
      : `must be a URL that starts with ${protocols.map((protocol) => `${protocol}//`).join(' or ')}`,
  )
}

/**
 * Accepts networks up to the size of a /8. If every peer were trusted, a client could choose the
 * address that it is rate-limited and logged by. A number of hops is refused for the same reason: it
 * trusts any peer that connects directly.
 */
function checkProxies(value: unknown): string | undefined {
  return (value as string[]).every(isNetwork)
    ? undefined
    : 'must be addresses or networks such as "10.0.0.0/8, fd00::/8", none wider than /8'
}

function isNetwork(text: string): boolean {
  const [, address = '', bits = '32'] = /^([^/]+)(?:\/(\d{1,3}))?$/.exec(text) ?? []
  const family = isIP(address)
  return family !== 0 && Number(bits) >= 8 && Number(bits) <= (family === 4 ? 32 : 128)
}

function isLoopback(host: string): boolean {
  if (host === 'localhost') return true
  const family = isIP(host)
  if (family === 0) return false
  const loopback = new BlockList()
  loopback.addSubnet('127.0.0.0', 8)
  loopback.addAddress('::1', 'ipv6')
  return loopback.check(host, family === 4 ? 'ipv4' : 'ipv6')
}
