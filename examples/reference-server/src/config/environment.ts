/** The settings of this service, from its environment variables. */
import { BlockList, isIP } from 'node:net'
import { join, resolve } from 'node:path'
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
  /** Mail server; `undefined`: mail is written to files in `outboxDir`. May contain a password. */
  readonly smtpUrl: string | undefined
  /** Absolute. */
  readonly outboxDir: string
  /** Sender of mail. */
  readonly from: string
  /** Origin at which clients reach this service; issuer and audience of its access tokens. */
  readonly publicUrl: string
  /** PEM of the private key that signs access tokens; `undefined`: a new key at every start. */
  readonly signingKey: string | undefined
  readonly signingKeyPassphrase: string | undefined
  /** Secrets behind the refresh tokens, the current one first; `undefined`: a new secret at every start. */
  readonly sessionSecrets: readonly string[] | undefined
  /** Keyset that encrypts fields, in Tink's JSON; `undefined`: the saved one, or a new one. */
  readonly fieldKeyset: string | undefined
  /** Keys that encrypt second factors, the current one first; `undefined`: saved ones, or a new one. */
  readonly mfaKeys: string | undefined
  /** Keys that encrypt data requests, the current one first; `undefined`: saved ones, or a new one. */
  readonly privacyKeys: string | undefined
  /** Secret behind pseudonyms and receipts; `undefined`: the saved one, or a new one. */
  readonly privacySecret: string | undefined
  /** Folder of the erasure ledger. Absolute. `undefined`: it is in the database. */
  readonly privacyLedgerDir: string | undefined
  /** PEM of the Ed25519 key that signs the audit log; `undefined`: the one in `auditDir`. */
  readonly auditKey: string | undefined
  /** Folder of the audit log's spool. Absolute. `undefined`: a temporary folder, without a key. */
  readonly auditDir: string | undefined
  /** The name of the audit log. It must stay when the public URL changes. */
  readonly auditOrigin: string
  /** Folder of files with secrets, which replace the variables and may change. Absolute. */
  readonly secretsDir: string | undefined
  /** Every secret of the variables, by name. */
  readonly secrets: Readonly<Record<string, Secret>>
  /** Whether `NODE_ENV` is `production`. */
  readonly isProduction: boolean
  /** Folder of uploaded files. Absolute. */
  readonly filesDir: string
  /** Whether the first start of an embedded database creates demo users and content; never where others reach it. */
  readonly demo: boolean
  /** How late the event loop may be; 0: no request is refused for it. */
  readonly maxEventLoopDelayMs: number
  /** Reads `/metrics`; `undefined`: a session or an API key with the permission does. */
  readonly metricsToken: string | undefined
  /** Receiver of messages about incidents; `undefined`: none. It may contain a token. */
  readonly incidentWebhookUrl: string | undefined
  readonly incidentWebhookSecret: string | undefined
  /** Contact in security.txt. */
  readonly securityContact: string
  /** Commit of the build; `undefined`: unknown. */
  readonly commit: string | undefined
  /** Collector of OpenTelemetry; `undefined`: no traces. */
  readonly otelEndpoint: string | undefined
  readonly otelServiceName: string
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
    smtpUrl: textOf(variables.SMTP_URL),
    outboxDir: resolve(variables.OUTBOX_DIR ?? join(DATA_DIR, 'outbox')),
    from: variables.MAIL_FROM,
    publicUrl: variables.PUBLIC_URL,
    signingKey: textOf(variables.SIGNING_KEY, readPem),
    signingKeyPassphrase: textOf(variables.SIGNING_KEY_PASSPHRASE),
    sessionSecrets: textOf(variables.SESSION_SECRET)?.split(','),
    fieldKeyset: readKeyset(variables.FIELD_KEYSET),
    mfaKeys: textOf(variables.MFA_KEYS),
    privacyKeys: textOf(variables.PRIVACY_KEYS),
    privacySecret: textOf(variables.PRIVACY_SECRET),
    privacyLedgerDir: pathOf(variables.PRIVACY_LEDGER_DIR),
    auditKey: textOf(variables.AUDIT_KEY, readPem),
    auditDir: auditDirOf(variables, DATA_DIR),
    auditOrigin: variables.AUDIT_ORIGIN ?? `${new URL(variables.PUBLIC_URL).host}/audit`,
    secretsDir: pathOf(SECRETS_DIR),
    secrets: secretsOf(variables),
    isProduction: variables.NODE_ENV === 'production',
    filesDir: resolve(variables.FILES_DIR ?? join(DATA_DIR, 'files')),
    demo: allowsDemo(variables),
    maxEventLoopDelayMs: variables.MAX_EVENT_LOOP_DELAY_MS,
    metricsToken: textOf(variables.METRICS_TOKEN),
    incidentWebhookUrl: textOf(variables.INCIDENT_WEBHOOK_URL),
    incidentWebhookSecret: textOf(variables.INCIDENT_WEBHOOK_SECRET),
    securityContact: variables.SECURITY_CONTACT ?? contactAt(variables.PUBLIC_URL),
    commit: variables.COMMIT,
    otelEndpoint: variables.OTEL_EXPORTER_OTLP_ENDPOINT,
    otelServiceName: variables.OTEL_SERVICE_NAME,
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

/** The mailbox that RFC 2142, section 4, reserves for reports. */
function contactAt(publicUrl: string): string {
  return `mailto:security@${new URL(publicUrl).hostname}`
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

function pathOf(path: string | undefined): string | undefined {
  return path === undefined ? undefined : resolve(path)
}

/** Whether clients on the network reach this server without TLS, as far as the settings tell. */
export function servesWithoutTls({ host, publicUrl }: Config): boolean {
  return !isLoopback(host) && !publicUrl.startsWith('https:')
}

/** The users of the demo keep the passwords that the terminal showed: nobody else may reach them. */
function allowsDemo({ DEMO, HOST, NODE_ENV, PUBLIC_URL }: Variables): boolean {
  if (NODE_ENV === 'production' || PUBLIC_URL.startsWith('https:')) return false
  return DEMO === 'on' && isLoopback(HOST)
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
