/** The settings of this service, from its environment variables. */
import { BlockList, isIP } from 'node:net'
import { resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { PARAPET_SECRETS_INVALID_ENVIRONMENT, Secret } from '@parapet/secrets'
import { readJson, readPem } from './key-text.ts'
import { requireKeys } from './required-keys.ts'
import { environment } from './variables.ts'

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
  readonly logLevel: Variables['LOG_LEVEL']
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
  /** Folder of files with secrets, which replace the variables and may change. Absolute. */
  readonly secretsDir: string | undefined
  /** Every secret of the variables, by name. */
  readonly secrets: Readonly<Record<string, Secret>>
  /** Whether `NODE_ENV` is `production`. */
  readonly isProduction: boolean
}

type Variables = ReturnType<typeof environment.read>

const DEFAULT_DATA_DIR = fileURLToPath(new URL('../../data', import.meta.url))

/**
 * Reads the configuration. Variables that this service does not use are ignored.
 *
 * @param env for instance `process.env`.
 * @throws PARAPET_SECRETS_INVALID_ENVIRONMENT with every fault; the message contains no value.
 * @throws PARAPET_REFERENCE_KEYS_MISSING
 */
export function readConfig(env: Readonly<Record<string, string | undefined>>): Config {
  const variables = environment.read(env)
  const { DATA_DIR = DEFAULT_DATA_DIR, SECRETS_DIR } = variables
  const config = Object.freeze({
    port: variables.PORT,
    host: variables.HOST,
    dataDir: resolve(DATA_DIR),
    databaseUrl: textOf(variables.DATABASE_URL),
    redisUrl: textOf(variables.REDIS_URL),
    logLevel: variables.LOG_LEVEL,
    trustProxy: variables.TRUST_PROXY ?? (false as const),
    corsOrigins: variables.CORS_ORIGINS,
    shutdownTimeoutMs: variables.SHUTDOWN_TIMEOUT_MS,
    adminEmail: variables.ADMIN_EMAIL,
    adminPassword: textOf(variables.ADMIN_PASSWORD),
    publicUrl: variables.PUBLIC_URL,
    signingKey: textOf(variables.SIGNING_KEY, readPem),
    signingKeyPassphrase: textOf(variables.SIGNING_KEY_PASSPHRASE),
    sessionSecret: textOf(variables.SESSION_SECRET),
    fieldKeyset: readKeyset(variables.FIELD_KEYSET),
    mfaKeys: textOf(variables.MFA_KEYS),
    auditKey: textOf(variables.AUDIT_KEY, readPem),
    auditDir: auditDirOf(variables, DATA_DIR),
    secretsDir: SECRETS_DIR === undefined ? undefined : resolve(SECRETS_DIR),
    secrets: secretsOf(variables),
    isProduction: variables.NODE_ENV === 'production',
  })
  requireKeys(config, variables.NODE_ENV)
  return config
}

function secretsOf(variables: Variables): Readonly<Record<string, Secret>> {
  const secrets = Object.entries(variables).filter(([, value]) => value instanceof Secret)
  return Object.freeze(Object.fromEntries(secrets) as Record<string, Secret>)
}

/** The plugins take keys as texts. */
function textOf(secret: Secret | undefined, read = (text: string) => text): string | undefined {
  return secret?.use(read)
}

/** The base64 of something else than JSON has the form of one. */
function readKeyset(secret: Secret | undefined): string | undefined {
  const keyset = textOf(secret, readJson)
  if (keyset === undefined || keyset.startsWith('{')) return keyset
  throw new PARAPET_SECRETS_INVALID_ENVIRONMENT('  "FIELD_KEYSET" must be a keyset in JSON')
}

/** With a key of its own, the log is in the database, so its spool may be anywhere that lasts. */
function auditDirOf({ AUDIT_DIR, AUDIT_KEY }: Variables, dataDir: string): string | undefined {
  if (AUDIT_DIR !== undefined) return resolve(AUDIT_DIR)
  return AUDIT_KEY === undefined ? undefined : resolve(dataDir, 'audit')
}

/** Whether clients on the network reach this server without TLS, as far as the settings tell. */
export function servesWithoutTls({ host, publicUrl }: Config): boolean {
  return !isLoopback(host) && !publicUrl.startsWith('https:')
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
