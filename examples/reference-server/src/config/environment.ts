/** What the environment may say. Everything has a default; an empty variable counts as unset. */
import { BlockList, isIP } from 'node:net'
import { fileURLToPath } from 'node:url'
import { resolve } from 'node:path'
import { option, readOptions } from '@parapet/kit'
import { PARAPET_REFERENCE_INVALID_ENVIRONMENT } from './errors.ts'

const logLevels = ['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent'] as const

/** The settings of this service, read once at start. Frozen. */
export interface Config {
  /** TCP port; 0 asks the system for a free one. */
  readonly port: number
  /** Address to listen on. */
  readonly host: string
  /** Folder of the embedded database, and of what is kept beside it. Absolute. */
  readonly dataDir: string
  /** PostgreSQL; `undefined`: the embedded database. May hold a password. */
  readonly databaseUrl: string | undefined
  /** Redis; `undefined`: the memory of this process. May hold a password. */
  readonly redisUrl: string | undefined
  readonly logLevel: (typeof logLevels)[number]
  /** Networks of the proxies whose `X-Forwarded-*` headers are believed. `false`: nobody's. */
  readonly trustProxy: string[] | false
  /** Origins whose pages may read what this service answers; `undefined`: none. */
  readonly corsOrigins: readonly string[] | undefined
  /** How long requests under way may take to finish once the process is told to stop. */
  readonly shutdownTimeoutMs: number
  /** The first administrator, made while there is none. */
  readonly adminEmail: string | undefined
  readonly adminPassword: string | undefined
  /** Where clients reach this service; names it in the tokens it signs. */
  readonly publicUrl: string
  /** PEM of the private key that signs access tokens; `undefined`: one made at start. */
  readonly signingKey: string | undefined
  readonly signingKeyPassphrase: string | undefined
  /** Makes refresh tokens; `undefined`: one made at start. */
  readonly sessionSecret: string | undefined
  /** Keyset that encrypts fields, in Tink's JSON; `undefined`: the kept one, or one made at start. */
  readonly fieldKeyset: string | undefined
  /** Seal second factors, the first of them; `undefined`: the kept one, or one made at start. */
  readonly mfaKeys: string | undefined
  /** Folder of the audit log's spool and key. Absolute. `undefined`: the kept one, or one made at start. */
  readonly auditDir: string | undefined
}

/** The variables, each with its reader; the README's table is checked against these names. */
export const variables = Object.freeze({
  PORT: option.integer({ max: 65_535, default: 3000 }),
  HOST: option.text({ max: 255, pattern: /^[\w.:-]+$/, default: '127.0.0.1' }),
  DATA_DIR: option.text({ default: fileURLToPath(new URL('../data', import.meta.url)) }),
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
  AUDIT_DIR: option.optional(option.text()),
  MFA_KEYS: option.optional(
    option.text({ max: 4096, pattern: /^\d{1,10}:[\w-]{43}(?:,\d{1,10}:[\w-]{43})*$/ }),
  ),
})

/** Variables whose text means a value of another type. */
const parsers: Readonly<Record<string, (text: string) => unknown>> = {
  PORT: parseInteger,
  SHUTDOWN_TIMEOUT_MS: parseInteger,
  TRUST_PROXY: (text) => text.split(',').map((entry) => entry.trim()),
  CORS_ORIGINS: (text) => text.split(',').map((entry) => entry.trim()),
}

/**
 * Reads the configuration. Variables of other programs are not looked at.
 *
 * @param env for instance `process.env`.
 * @throws PARAPET_REFERENCE_INVALID_ENVIRONMENT naming every fault, and never showing a URL.
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
    throw new PARAPET_REFERENCE_INVALID_ENVIRONMENT(
      '@parapet/reference-server',
      '  ADMIN_EMAIL: goes together with ADMIN_PASSWORD',
    )
  }
  return Object.freeze({
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
    auditDir: settings.AUDIT_DIR === undefined ? undefined : resolve(settings.AUDIT_DIR),
  })
}

/** Whether what clients send crosses the network as it is: no TLS is known to stand in front. */
export function isInTheClear({ host, publicUrl }: Config): boolean {
  return !isLoopback(host) && !publicUrl.startsWith('https:')
}

/** A text that is no plain decimal number stays a text, which the reader then refuses. */
function parseInteger(text: string): unknown {
  return /^\d{1,15}$/.test(text) ? Number(text) : text
}

function checkPublicUrl(value: unknown): string | undefined {
  return typeof value === 'string' && URL.canParse(value) && /^https?:\/\/[^/]+$/.test(value)
    ? undefined
    : 'must be an origin such as "https://api.example.com"'
}

function url(...protocols: readonly string[]) {
  return option.custom<string>((value) =>
    typeof value === 'string' && URL.canParse(value) && protocols.includes(new URL(value).protocol)
      ? undefined
      : `must be a URL that starts with ${protocols.map((protocol) => `${protocol}//`).join(' or ')}`,
  )
}

/**
 * Networks, none wider than /8: to trust everyone is to let each client choose the address it is
 * limited and logged by. A number of hops trusts whoever connects, so Fastify takes none.
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
