/** The environment variables of this service: `.env.example` and CONFIGURATION.md are made from it. */
import { compileEnvironment, requireTogether, secretText } from '@parapet/secrets'
import { Type, type TSchema } from '@sinclair/typebox'
import { narrowProxies, realOrigin } from './variable-rules.ts'

const optional = <T extends TSchema>(schema: T) => Type.Optional(schema)
const levels = ['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent'] as const
const PEM = '^(?:-----BEGIN |[A-Za-z0-9+/]{16,}={0,2}$)'
const pem = { maxLength: 16_384, pattern: PEM, form: 'a PEM, or its base64 in one line' }
const JSON_OR_BASE64 = '^(?:\\{|eyJ|ew)'

const schema = Type.Object({
  NODE_ENV: optional(
    Type.String({
      maxLength: 64,
      description: '`production`: with `DATABASE_URL`, a start without keys is refused. [1]',
    }),
  ),
  PORT: Type.Integer({
    minimum: 0,
    maximum: 65_535,
    default: 3000,
    description: 'TCP port. `0` chooses a free one.',
  }),
  HOST: Type.String({
    maxLength: 255,
    pattern: '^[\\w.:\\-]+$',
    form: 'an address or a host name',
    default: '127.0.0.1',
    description: 'Address to listen on.',
  }),
  DATA_DIR: optional(
    Type.String({
      maxLength: 1024,
      description:
        'Folder of the embedded database, its keys and the audit log. Unset: `data` in this folder.',
    }),
  ),
  DATABASE_URL: optional(
    secretText({
      format: 'uri',
      protocols: ['postgres:', 'postgresql:'],
      description:
        'PostgreSQL instead of the embedded database: `postgres://user:password@host/database`.',
    }),
  ),
  REDIS_URL: optional(
    secretText({
      format: 'uri',
      protocols: ['redis:', 'rediss:'],
      description: 'Redis instead of memory; needed for several instances: `redis://host:6379`.',
    }),
  ),
  LOG_LEVEL: Type.Union(
    levels.map((level) => Type.Literal(level)),
    {
      default: 'info',
      description: '`fatal`, `error`, `warn`, `info`, `debug`, `trace` or `silent`.',
    },
  ),
  TRUST_PROXY: optional(
    Type.Array(Type.String({ maxLength: 64 }), {
      description:
        'Networks of proxies whose `X-Forwarded-*` headers are trusted: `10.0.0.0/8, fd00::/8`. [2]',
    }),
  ),
  CORS_ORIGINS: optional(
    Type.Array(Type.String({ maxLength: 255 }), {
      description: 'Origins whose pages may read responses: `https://app.example.com`.',
    }),
  ),
  SHUTDOWN_TIMEOUT_MS: Type.Integer({
    minimum: 1,
    maximum: 600_000,
    default: 10_000,
    description: 'How long running requests may take to finish after SIGTERM or SIGINT.',
  }),
  ADMIN_EMAIL: optional(
    Type.String({
      maxLength: 254,
      format: 'email',
      description: 'Address of the first administrator. Ignored while there is one.',
    }),
  ),
  ADMIN_PASSWORD: optional(
    secretText({
      minLength: 12,
      maxLength: 1024,
      description:
        'Password of the first administrator, at least 12 characters. Unset it afterwards.',
    }),
  ),
  SMTP_URL: optional(
    secretText({
      format: 'uri',
      protocols: ['smtp:', 'smtps:'],
      description: 'Mail server: `smtps://user:password@host`. Unset: mail is written to files.',
    }),
  ),
  OUTBOX_DIR: optional(
    Type.String({
      maxLength: 1024,
      description: 'Folder of mail that is written to files. Unset: `outbox` in `DATA_DIR`.',
    }),
  ),
  MAIL_FROM: Type.String({
    maxLength: 254,
    format: 'email',
    default: 'no-reply@server.localhost',
    description: 'Sender of mail.',
  }),
  PUBLIC_URL: Type.String({
    maxLength: 1024,
    pattern: '^https?://[^/]+$',
    form: 'an origin without a path, such as "https://api.example.com"',
    default: 'http://localhost:3000',
    description: 'Origin at which clients reach the server. Issuer of its tokens.',
  }),
  SIGNING_KEY: optional(
    secretText({
      ...pem,
      description:
        'Private key that signs access tokens, as PEM or its base64. Unset: a new key at every start. [1]',
    }),
  ),
  SIGNING_KEY_PASSPHRASE: optional(
    secretText({ maxLength: 1024, description: 'Passphrase of the encrypted PEM.' }),
  ),
  SESSION_SECRET: optional(
    secretText({
      maxLength: 1024,
      pattern: '^[\\w\\-]{43,}(,[\\w\\-]{43,})*$',
      form: 'base64url of at least 32 bytes each, separated by commas',
      description:
        'Base64url of 32 random bytes, for refresh tokens and locks; to rotate, several with commas, the newest first. [1]',
    }),
  ),
  FIELD_KEYSET: optional(
    secretText({
      maxLength: 65_536,
      pattern: JSON_OR_BASE64,
      form: 'a keyset in JSON, or its base64',
      description: "Keyset that encrypts telephone numbers, as Tink's JSON or its base64. [1]",
    }),
  ),
  AUDIT_KEY: optional(
    secretText({
      ...pem,
      description:
        'Ed25519 key that signs the audit log, as PEM or its base64. One for all instances. [1]',
    }),
  ),
  AUDIT_DIR: optional(
    Type.String({
      maxLength: 1024,
      description: "Folder of the audit log's spool, a different one for each instance. [3]",
    }),
  ),
  AUDIT_ORIGIN: optional(
    Type.String({
      maxLength: 255,
      pattern: String.raw`^[^\s+]+$`,
      description:
        'Name of the audit log, which never changes. Unset: the host of `PUBLIC_URL` and `/audit`.',
    }),
  ),
  MFA_KEYS: optional(
    secretText({
      maxLength: 4096,
      pattern: '^\\d{1,10}:[\\w\\-]{43}(?:,\\d{1,10}:[\\w\\-]{43})*$',
      form: 'keys as "id:base64url", separated by commas',
      description: 'Keys that encrypt second factors, `id:base64url`, the current key first. [1]',
    }),
  ),
  PRIVACY_KEYS: optional(
    secretText({
      maxLength: 4096,
      pattern: '^\\d{1,10}:[\\w\\-]{43}(?:,\\d{1,10}:[\\w\\-]{43})*$',
      form: 'keys as "id:base64url", separated by commas',
      description: 'Keys that encrypt data requests and archives, the current key first. [1]',
    }),
  ),
  PRIVACY_SECRET: optional(
    secretText({
      maxLength: 1024,
      pattern: '^[\\w\\-]{43,}$',
      form: 'base64url of at least 32 bytes',
      description:
        'Base64url of 32 random bytes, for pseudonyms and receipts of erasure. It never changes. [1]',
    }),
  ),
  PRIVACY_LEDGER_DIR: optional(
    Type.String({
      maxLength: 1024,
      description:
        'Folder of the erasure ledger; no restore may bring it back. Unset: `ledger` in `DATA_DIR`, or PostgreSQL.',
    }),
  ),
  SECRETS_DIR: optional(
    Type.String({
      maxLength: 1024,
      description:
        'Folder with a file for each secret, named like its variable, which it replaces. [4]',
    }),
  ),
  FILES_DIR: optional(
    Type.String({
      maxLength: 1024,
      description: 'Folder of uploaded files, shared by all instances. Unset: `DATA_DIR/files`.',
    }),
  ),
  DEMO: Type.Union([Type.Literal('on'), Type.Literal('off')], {
    default: 'on',
    description:
      '`off`: the first start of the embedded database creates no demo users and content. [5]',
  }),
  MAX_EVENT_LOOP_DELAY_MS: Type.Integer({
    minimum: 0,
    maximum: 60_000,
    default: 1000,
    description: 'If the event loop is later, requests get 503. `0`: never.',
  }),
  METRICS_TOKEN: optional(
    secretText({
      maxLength: 1024,
      pattern: '^[\\w\\-]{32,}$',
      form: 'at least 32 letters and digits',
      description: 'Prometheus reads `/metrics` with `Authorization: Metrics <token>`.',
    }),
  ),
  INCIDENT_WEBHOOK_URL: optional(
    secretText({
      format: 'uri',
      protocols: ['https:'],
      description:
        'Receiver of signed messages about incidents, at a public address: `https://hooks.example.com/1`.',
    }),
  ),
  INCIDENT_WEBHOOK_SECRET: optional(
    secretText({
      minLength: 24,
      maxLength: 1024,
      description: 'Signs these messages (Standard Webhooks), at least 24 characters.',
    }),
  ),
  SECURITY_CONTACT: optional(
    Type.String({
      maxLength: 254,
      pattern: '^(?:mailto:|https://)[!-~]+$',
      form: 'a mailto: or https: URL',
      description: 'Contact in security.txt. Unset: `mailto:security@` the host of `PUBLIC_URL`.',
    }),
  ),
  COMMIT: optional(
    Type.String({
      pattern: '^[0-9a-f]{7,64}$',
      form: 'a commit in hex',
      maxLength: 64,
      description: 'Commit of the build, shown by `/version`.',
    }),
  ),
  OTEL_EXPORTER_OTLP_ENDPOINT: optional(
    Type.String({
      maxLength: 1024,
      pattern: '^https?://[!-~]+$',
      form: 'an http: or https: URL',
      description: 'Collector of OpenTelemetry that gets traces: `http://localhost:4318`.',
    }),
  ),
  OTEL_SERVICE_NAME: Type.String({
    maxLength: 128,
    pattern: '^[!-~]+$',
    form: 'a name without spaces',
    default: 'parapet-reference-server',
    description: 'Name of this service in traces.',
  }),
})

/** Reads the variables of this service. */
export const environment = compileEnvironment(schema, {
  rules: [
    requireTogether('ADMIN_EMAIL', 'ADMIN_PASSWORD'),
    requireTogether('INCIDENT_WEBHOOK_URL', 'INCIDENT_WEBHOOK_SECRET'),
    narrowProxies,
    realOrigin,
  ],
})
