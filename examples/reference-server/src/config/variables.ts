/** The environment variables of this service: `.env.example` and the README's table are made from it. */
import { isIP } from 'node:net'
import {
  compileEnvironment,
  requireTogether,
  secretText,
  type EnvironmentRule,
} from '@parapet/secrets'
import { Type, type TSchema } from '@sinclair/typebox'

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
      pattern: '^[\\w\\-]{43,}$',
      form: 'base64url of at least 32 bytes',
      description:
        'Base64url of 32 random bytes, for refresh tokens. Unset: a new one at every start. [1]',
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
  MFA_KEYS: optional(
    secretText({
      maxLength: 4096,
      pattern: '^\\d{1,10}:[\\w\\-]{43}(?:,\\d{1,10}:[\\w\\-]{43})*$',
      form: 'keys as "id:base64url", separated by commas',
      description: 'Keys that encrypt second factors, `id:base64url`, the current key first. [1]',
    }),
  ),
  SECRETS_DIR: optional(
    Type.String({
      maxLength: 1024,
      description:
        'Folder with a file for each secret, named like its variable, which it replaces. [4]',
    }),
  ),
})

/**
 * Accepts networks up to the size of a /8. If every peer were trusted, a client could choose the
 * address that it is rate-limited and logged by. A number of hops is refused for the same reason: it
 * trusts any peer that connects directly.
 */
const narrowProxies: EnvironmentRule = {
  description: 'No network of TRUST_PROXY is wider than a /8',
  check({ TRUST_PROXY: networks }) {
    if ((networks as readonly string[] | undefined)?.every(isNetwork) ?? true) return {}
    return {
      TRUST_PROXY:
        'must be addresses or networks such as "10.0.0.0/8, fd00::/8", none wider than /8',
    }
  },
}

/** A pattern cannot tell whether a URL is one. */
const realOrigin: EnvironmentRule = {
  description: 'PUBLIC_URL is an origin',
  check: ({ PUBLIC_URL: url }) =>
    URL.canParse(url as string) ? {} : { PUBLIC_URL: 'must be an origin without a path' },
}

function isNetwork(text: string): boolean {
  const [, address = '', bits = '32'] = /^([^/]+)(?:\/(\d{1,3}))?$/.exec(text) ?? []
  const family = isIP(address)
  return family !== 0 && Number(bits) >= 8 && Number(bits) <= (family === 4 ? 32 : 128)
}

/** Reads the variables of this service. */
export const environment = compileEnvironment(schema, {
  rules: [requireTogether('ADMIN_EMAIL', 'ADMIN_PASSWORD'), narrowProxies, realOrigin],
})
