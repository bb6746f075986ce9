/** Creates the service: connects tokens, keys, sessions, revocations, API keys and logins. */
import type { Clock, SecurityEvents, SqlClient, Store } from '@parapet/kit'
import { createApiKeys } from '../api-keys/api-keys.ts'
import { createSqlApiKeys, migrateApiKeys } from '../api-keys/repository-postgres.ts'
import { createRecentKeys } from '../api-keys/recent-keys.ts'
import { createStoreApiKeys } from '../api-keys/repository-store.ts'
import { createKeyRing } from '../keys/key-ring.ts'
import type { KeySet } from '../keys/read-key.ts'
import type { ProviderSettings } from '../oidc/provider.ts'
import { createSingleSignOn } from '../oidc/single-sign-on.ts'
import { createEpochs } from '../revocation/epochs.ts'
import { createEndedListeners, type EndedListeners } from '../revocation/ended-access.ts'
import { KnownRevocations } from '../revocation/known-revocations.ts'
import { createRevocationList, type RevocationList } from '../revocation/revocation-list.ts'
import { createRecordSeal, type RecordSeal } from '../secrets/record-seal.ts'
import type { SecondFactor } from '../second-factor/second-factor.ts'
import type { FindUser, SessionContext } from '../session/context.ts'
import type { SessionLifetimes } from '../session/record.ts'
import { createTokenUses } from '../session/token-uses.ts'
import { createTokenIssuer, type TokenIssuerSettings } from '../tokens/issue-jwt.ts'
import { createRefreshTokens } from '../tokens/refresh-token.ts'
import { createVerifiedTokens } from '../tokens/verified-tokens.ts'
import { createTokenVerifier } from '../tokens/verify-jwt.ts'
import { createSignatureVerifier } from '../tokens/verify-signature.ts'
import { createAuthenticator, type Authenticator } from './authenticator.ts'
import { createLoginService, type LoginService } from './login-service.ts'
import { createSecondStep, type SecondStep } from './second-step.ts'
import { SessionService } from './session-service.ts'

/** The log of the app. */
interface ServiceLog {
  info(message: string): void
  warn(message: string): void
  debug(fields: object, message: string): void
  error(fields: object, message: string): void
}

/** What {@link createService} needs: the options of the plugin with the defaults filled in. */
export interface ServiceSettings extends SessionLifetimes {
  readonly issuer: string
  readonly audience: string
  readonly keys: KeySet
  readonly acceptRsa2048: boolean
  readonly secrets: readonly string[]
  readonly acceptUnsealedUntil: number
  readonly store: Store
  readonly sql: SqlClient | undefined
  readonly findUser: FindUser | undefined
  readonly secondFactor: SecondFactor | undefined
  readonly accessLifetimeMs: number
  readonly tokenCacheBytes: number
  readonly maxSessionsPerUser: number
  readonly oidc: Readonly<Record<string, ProviderSettings>>
  readonly apiKeyPrefix: string
  readonly clock: Clock
  readonly securityEvents: SecurityEvents
  readonly log: ServiceLog
}

/** Everything that the HTTP layer may call. */
export interface Service {
  readonly sessions: SessionService
  readonly authenticator: Authenticator
  readonly logins: LoginService
  readonly secondStep: SecondStep
  /** Subscribes to revocations and loads them. Requests may come before it resolves. */
  start(): Promise<void>
  stop(): Promise<void>
}

/** How far the clocks of instances may differ while a revocation is remembered, in milliseconds. */
const CLOCK_MARGIN_MS = 60_000

const PUSHED = 'sessions knows every revocation; requests need no store call'
const CHECKED =
  'sessions may miss revocations; each request asks the store until its subscription works again'
const LISTENER_FAILED = 'sessions called a listener of onEnded, which threw an error'
const KEYS_FAILED = 'sessions could not follow changes of API keys and tries again in 500 ms'
const FAILED = 'sessions could not load or share revocations and tries again in 500 ms'

/** Creates the service and, with `sql`, the table of API keys. */
export async function createService(settings: ServiceSettings): Promise<Service> {
  const { store, sql, secrets, securityEvents, findUser, log } = settings
  const { now } = settings.clock
  const reportState = createStateReport(log)
  if (sql !== undefined) await migrateApiKeys(sql)
  const tokens = createTokens(settings)
  const endedListeners = createEndedListeners((error) => log.error({ err: error }, LISTENER_FAILED))
  const context = createContext(settings, createTokenIssuer(tokens), endedListeners, reportState)
  const { revocations, uses } = context
  const repository = sql === undefined ? createStoreApiKeys(store) : createSqlApiKeys(sql)
  const recent = createRecentKeys({
    repository,
    store,
    clock: settings.clock,
    onError: (error) => log.debug({ err: error }, KEYS_FAILED),
  })
  const apiKeys = createApiKeys({
    repository,
    recent,
    seal: context.seal,
    now,
    prefix: settings.apiKeyPrefix,
  })
  const verified = createVerifiedTokens(settings.tokenCacheBytes)
  const verifyToken = createTokenVerifier({ ...tokens, verified })
  const checks = { verifyToken, revocations, uses, apiKeys, findUser, securityEvents }
  const authenticator = createAuthenticator(checks)
  const operations = { context, ring: tokens.ring, authenticator, apiKeys, endedListeners }
  const sessions = new SessionService({ ...operations, securityEvents })
  const singleSignOn = createSingleSignOn({ providers: settings.oidc, store, secrets, now })
  const { secondFactor } = settings
  const secondStep = createSecondStep({ context, sessions, secondFactor, securityEvents })
  const steps = { context, secondStep, singleSignOn, verifyToken, secrets, securityEvents }
  return {
    sessions,
    authenticator,
    logins: createLoginService(steps),
    secondStep,
    async start() {
      await Promise.all([revocations.start(), recent.start()])
      if (revocations.state === 'checked') reportState('checked')
    },
    async stop() {
      await Promise.all([revocations.stop(), recent.stop()])
    },
  }
}

/** How long a revocation matters, in milliseconds. */
function keepMsOf({ accessLifetimeMs }: ServiceSettings): number {
  return accessLifetimeMs + CLOCK_MARGIN_MS
}

function createTokens(settings: ServiceSettings): TokenIssuerSettings {
  const { issuer, audience, accessLifetimeMs: lifetimeMs, keys, acceptRsa2048, clock } = settings
  const { now } = clock
  const ring = createKeyRing({
    keys,
    acceptRsa2048,
    createVerifier: (publicPem, algorithm) =>
      createSignatureVerifier(publicPem, algorithm, { issuer, audience }),
    now,
    overlapMs: keepMsOf(settings),
  })
  return { ring, issuer, audience, lifetimeMs, now }
}

function createContext(
  settings: ServiceSettings,
  issueToken: SessionContext['issueToken'],
  endedListeners: EndedListeners,
  reportState: StateReport,
): SessionContext {
  const { clock, store, log, refreshAbsoluteMs, refreshIdleMs } = settings
  const keepMs = keepMsOf(settings)
  const known = new KnownRevocations(clock.now, keepMs)
  const epochs = createEpochs(store, clock.now, refreshAbsoluteMs + keepMs, known)
  return {
    store,
    seal: createSeal(settings),
    now: clock.now,
    lifetimes: settings,
    maxSessionsPerUser: settings.maxSessionsPerUser,
    findUser: settings.findUser,
    epochs,
    issueToken,
    refreshTokens: createRefreshTokens(settings.secrets),
    uses: createTokenUses(store, refreshIdleMs),
    revocations: createRevocationList({
      store,
      epochs,
      clock,
      keepMs,
      known,
      onRevoked: (revocation) => endedListeners.tell(revocation),
      onStateChange: reportState,
      // Repeated every 500 ms while the store is down; the change of state is logged once.
      onError: (error) => log.debug({ err: error }, FAILED),
    }),
  }
}

const UNSEALED =
  'sessions refused a record without a seal. If an older version wrote it, set "acceptUnsealedUntil".'

function createSeal(settings: ServiceSettings): RecordSeal {
  const { secrets, acceptUnsealedUntil, clock, securityEvents, log } = settings
  const { now } = clock
  if (acceptUnsealedUntil > now()) {
    const until = new Date(acceptUnsealedUntil).toISOString()
    log.warn(
      `sessions accepts records without a seal until ${until}, as "acceptUnsealedUntil" says. ` +
        'Until then, write access to the store or the table is enough to forge them.',
    )
  }
  let isLogged = false
  return createRecordSeal({
    secrets,
    acceptUnsealedUntil,
    now,
    onRefused(record, resourceId, reason) {
      const resource = { resourceType: record, resourceId }
      const details = { record, reason }
      securityEvents.emit('sessions.record_refused', { ...resource, details })
      if (reason === 'unsealed' && !isLogged) log.warn(UNSEALED)
      isLogged ||= reason === 'unsealed'
    },
  })
}

type StateReport = (state: RevocationList['state']) => void

/** Logs when revocations may be missing, and when they are complete again. */
function createStateReport(log: ServiceLog): StateReport {
  let isWarned = false
  return (state) => {
    if (state === 'checked') log.warn(CHECKED)
    else if (isWarned) log.info(PUSHED)
    isWarned = state === 'checked'
  }
}
