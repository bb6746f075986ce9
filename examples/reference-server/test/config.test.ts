/** The environment variables: defaults, values, and refusals of invalid ones. */
import { isAbsolute } from 'node:path'
import t from 'tap'
import { readConfig, servesWithoutTls } from '../src/config/environment.ts'

const code = 'PARAPET_SECRETS_INVALID_ENVIRONMENT'

await t.test('every variable has a default, and an empty variable counts as unset', async (t) => {
  const config = readConfig({ PATH: '/bin', PORT: '', DATABASE_URL: '', NODE_ENV: 'production' })
  t.ok(isAbsolute(config.dataDir))
  t.match(config.dataDir, /examples.reference-server.data$/)
  t.match(config.filesDir, /examples.reference-server.data.files$/)
  t.same(
    { ...config, dataDir: '', filesDir: '', outboxDir: '', secrets: {} },
    {
      port: 3000,
      host: '127.0.0.1',
      dataDir: '',
      databaseUrl: undefined,
      redisUrl: undefined,
      logLevel: 'info',
      trustProxy: false,
      corsOrigins: undefined,
      shutdownTimeoutMs: 10_000,
      adminEmail: undefined,
      adminPassword: undefined,
      smtpUrl: undefined,
      outboxDir: '',
      from: 'no-reply@server.localhost',
      publicUrl: 'http://localhost:3000',
      signingKey: undefined,
      signingKeyPassphrase: undefined,
      sessionSecrets: undefined,
      fieldKeyset: undefined,
      mfaKeys: undefined,
      privacyKeys: undefined,
      privacySecret: undefined,
      privacyLedgerDir: undefined,
      auditKey: undefined,
      auditDir: undefined,
      auditOrigin: 'localhost:3000/audit',
      secretsDir: undefined,
      secrets: {},
      isProduction: true,
      filesDir: '',
      demo: false,
      maxEventLoopDelayMs: 1000,
      metricsToken: undefined,
      incidentWebhookUrl: undefined,
      incidentWebhookSecret: undefined,
      securityContact: 'mailto:security@localhost',
      commit: undefined,
      otelEndpoint: undefined,
      otelServiceName: 'parapet-reference-server',
    },
  )
  t.ok(Object.isFrozen(config))
})

await t.test('every variable is read', async (t) => {
  const config = readConfig({
    PORT: '0',
    HOST: '::1',
    DATA_DIR: '/srv/data',
    DATABASE_URL: 'postgres://user:password@db/app',
    REDIS_URL: 'rediss://cache:6380',
    LOG_LEVEL: 'debug',
    TRUST_PROXY: '10.0.0.0/8, fd00::/8,192.0.2.1',
    CORS_ORIGINS: 'https://a.example, https://*.b.example',
    SHUTDOWN_TIMEOUT_MS: '500',
    ADMIN_EMAIL: 'chief@example.com',
    ADMIN_PASSWORD: 'a long password',
    SMTP_URL: 'smtps://user:password@mail.example.com',
    OUTBOX_DIR: '/srv/outbox',
    MAIL_FROM: 'accounts@example.com',
    PUBLIC_URL: 'https://api.example.com',
    SIGNING_KEY: '-----BEGIN ENCRYPTED PRIVATE KEY-----',
    SIGNING_KEY_PASSPHRASE: 'a passphrase',
    SESSION_SECRET: `${'A'.repeat(43)},${'C'.repeat(43)}`,
    FIELD_KEYSET: '{}',
    MFA_KEYS: `7:${'A'.repeat(43)}`,
    PRIVACY_KEYS: `8:${'A'.repeat(43)}`,
    PRIVACY_SECRET: 'B'.repeat(43),
    PRIVACY_LEDGER_DIR: '/srv/ledger',
    AUDIT_KEY: '-----BEGIN PRIVATE KEY-----',
    AUDIT_DIR: '/srv/audit',
    AUDIT_ORIGIN: 'old.example.com/audit',
    SECRETS_DIR: '/run/secrets',
    NODE_ENV: 'production',
    FILES_DIR: '/srv/files',
    DEMO: 'on',
    MAX_EVENT_LOOP_DELAY_MS: '0',
    METRICS_TOKEN: 'm'.repeat(32),
    INCIDENT_WEBHOOK_URL: 'https://hooks.example.com/1',
    INCIDENT_WEBHOOK_SECRET: 'i'.repeat(24),
    SECURITY_CONTACT: 'https://example.com/report',
    COMMIT: 'abcdef0',
    OTEL_EXPORTER_OTLP_ENDPOINT: 'http://collector:4318',
    OTEL_SERVICE_NAME: 'booking',
  })
  t.same(Object.keys(config.secrets), [
    'DATABASE_URL',
    'REDIS_URL',
    'ADMIN_PASSWORD',
    'SMTP_URL',
    'SIGNING_KEY',
    'SIGNING_KEY_PASSPHRASE',
    'SESSION_SECRET',
    'FIELD_KEYSET',
    'AUDIT_KEY',
    'MFA_KEYS',
    'PRIVACY_KEYS',
    'PRIVACY_SECRET',
    'METRICS_TOKEN',
    'INCIDENT_WEBHOOK_URL',
    'INCIDENT_WEBHOOK_SECRET',
  ])
  t.same(
    { ...config, secrets: {} },
    {
      port: 0,
      host: '::1',
      dataDir: '/srv/data',
      databaseUrl: 'postgres://user:password@db/app',
      redisUrl: 'rediss://cache:6380',
      logLevel: 'debug',
      trustProxy: ['10.0.0.0/8', 'fd00::/8', '192.0.2.1'],
      corsOrigins: ['https://a.example', 'https://*.b.example'],
      shutdownTimeoutMs: 500,
      adminEmail: 'chief@example.com',
      adminPassword: 'a long password',
      smtpUrl: 'smtps://user:password@mail.example.com',
      outboxDir: '/srv/outbox',
      from: 'accounts@example.com',
      publicUrl: 'https://api.example.com',
      signingKey: '-----BEGIN ENCRYPTED PRIVATE KEY-----',
      signingKeyPassphrase: 'a passphrase',
      sessionSecrets: ['A'.repeat(43), 'C'.repeat(43)],
      fieldKeyset: '{}',
      mfaKeys: `7:${'A'.repeat(43)}`,
      privacyKeys: `8:${'A'.repeat(43)}`,
      privacySecret: 'B'.repeat(43),
      privacyLedgerDir: '/srv/ledger',
      auditKey: '-----BEGIN PRIVATE KEY-----',
      auditDir: '/srv/audit',
      auditOrigin: 'old.example.com/audit',
      secretsDir: '/run/secrets',
      secrets: {},
      isProduction: true,
      filesDir: '/srv/files',
      demo: false,
      maxEventLoopDelayMs: 0,
      metricsToken: 'm'.repeat(32),
      incidentWebhookUrl: 'https://hooks.example.com/1',
      incidentWebhookSecret: 'i'.repeat(24),
      securityContact: 'https://example.com/report',
      commit: 'abcdef0',
      otelEndpoint: 'http://collector:4318',
      otelServiceName: 'booking',
    },
  )
})

await t.test('the demo is for this machine only', async (t) => {
  t.equal(readConfig({ DEMO: 'on' }).demo, true)
  const others: readonly Readonly<Record<string, string>>[] = [
    { NODE_ENV: 'production' },
    { HOST: '0.0.0.0' },
    { PUBLIC_URL: 'https://api.example.com' },
  ]
  for (const env of others) t.equal(readConfig({ DEMO: 'on', ...env }).demo, false)
})

await t.test('the spool is in the data folder if the audit log has a key of its own', async (t) => {
  const AUDIT_KEY = '-----BEGIN PRIVATE KEY-----'
  t.equal(readConfig({ AUDIT_KEY, DATA_DIR: '/srv/data' }).auditDir, '/srv/data/audit')
  t.equal(readConfig({ DATA_DIR: '/srv/data' }).auditDir, undefined)
})

await t.test('an invalid variable is refused by name, and the error shows no URL', async (t) => {
  const faults: Record<string, readonly string[]> = {
    PORT: ['http', '65536', '-1', '1.5', '1e3', '0x10', ' 80'],
    HOST: ['my host', 'a/b'],
    DATABASE_URL: ['hunter2', 'mysql://hunter2@db'],
    REDIS_URL: ['hunter2:6379', 'http://:hunter2@cache'],
    LOG_LEVEL: ['loud', 'INFO'],
    TRUST_PROXY: [
      'true',
      '1',
      '*',
      '0.0.0.0/0',
      '::/0',
      '10.0.0.0/7',
      '10.0.0.0/33',
      '10.0.0.0/8,',
    ],
    SHUTDOWN_TIMEOUT_MS: ['0', '10s'],
    ADMIN_EMAIL: ['hunter2'],
    ADMIN_PASSWORD: ['hunter2'],
    PUBLIC_URL: ['api.example.com', 'https://api.example.com/', 'file:///etc'],
    SIGNING_KEY: ['hunter2'],
    SESSION_SECRET: ['hunter2', `${'A'.repeat(43)},`],
    FIELD_KEYSET: ['hunter2', 'hunter2hunter2hunter2hunter2'],
    AUDIT_KEY: ['hunter2'],
  }
  for (const [name, values] of Object.entries(faults)) {
    for (const value of values) {
      t.throws(() => readConfig({ [name]: value }), { code, message: `\n  "${name}" ` }, value)
      t.throws(() => readConfig({ [name]: value }), { message: /^(?![^]*hunter2)/ })
    }
  }
})

await t.test('one error lists all faults', async (t) => {
  t.throws(() => readConfig({ PORT: 'x', LOG_LEVEL: 'x' }), {
    code,
    message: /"PORT" [^]*\n {2}"LOG_LEVEL" /,
  })
})

await t.test('a server that is reachable from the network without TLS is detected', async (t) => {
  for (const HOST of ['0.0.0.0', '::', '192.0.2.1', 'example.com', 'localhost.example.com']) {
    t.ok(servesWithoutTls(readConfig({ HOST })), HOST)
    t.notOk(servesWithoutTls(readConfig({ HOST, PUBLIC_URL: 'https://api.example.com' })), HOST)
  }
  for (const HOST of ['localhost', '127.0.0.2', '::1']) {
    t.notOk(servesWithoutTls(readConfig({ HOST })), HOST)
  }
})

await t.test(
  'the e-mail address and the password of the administrator must be set together',
  async (t) => {
    for (const half of [{ ADMIN_EMAIL: 'a@example.com' }, { ADMIN_PASSWORD: 'x'.repeat(12) }]) {
      t.throws(() => readConfig(half), { code, message: 'must be set together' })
    }
  },
)
