/** Creates the service: connects tokens, keys, sessions, revocations, API keys and logins. */
import type { Clock, SecurityEvents, SqlClient, Store } from '@parapet/kit'
import { createApiKeys } from '../api-keys/api-keys.ts'
import { createSqlApiKeys, migrateApiKeys } from '../api-keys/repository-postgres.ts'
import { createStoreApiKeys } from '../api-keys/repository-store.ts'
import { createKeyRing } from '../keys/key-ring.ts'
import type { KeySet } from '../keys/read-key.ts'
import type { ProviderSettings } from '../oidc/provider.ts'
import { createSingleSignOn } from '../oidc/single-sign-on.ts'
import { createEpochs } from '../revocation/epochs.ts'
import { createRevocationList, type RevocationList } from '../revocation/revocation-list.ts'
import type { FindUser, SessionContext } from '../session/context.ts'
import type { SessionLifetimes } from '../session/record.ts'
import { createTokenIssuer } from '../tokens/issue-jwt.ts'
import { createRefreshTokens } from '../tokens/refresh-token.ts'
import { createTokenVerifier } from '../tokens/verify-jwt.ts'
import { createSignatureVerifier } from '../tokens/verify-signature.ts'
import { createAuthenticator, type Authenticator } from './authenticator.ts'
import { createLoginService, type LoginService } from './login-service.ts'
import { SessionService } from './session-service.ts'

/** The log of the app. */
interface ServiceLog {
  info(message: string): void
  warn(message: string): void
  debug(fields: object, message: string): void
}

/** What {@link createService} needs: the options of the plugin with the defaults filled in. */
export interface ServiceSettings extends SessionLifetimes {
  readonly issuer: string
  readonly audience: string
  readonly keys: KeySet
  readonly acceptRsa2048: boolean
  readonly secrets: readonly string[]
  readonly store: Store
  readonly sql: SqlClient | undefined
  readonly findUser: FindUser | undefined
  readonly accessLifetimeMs: number
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
  /** Subscribes to revocations and loads them. Requests may come before it resolves. */
  start(): Promise<void>
  stop(): Promise<void>
}

/** How far the clocks of instances may differ while a revocation is remembered, in milliseconds. */
const CLOCK_MARGIN_MS = 60_000

const PUSHED = 'sessions knows every revocation; requests need no store call'
const CHECKED =
  'sessions may miss revocations; each request asks the store until its subscription works again'
const FAILED = 'sessions could not load or share revocations and tries again in 500 ms'

/** Creates the service and, with `sql`, the table of API keys. */
export async function createService(settings: ServiceSettings): Promise<Service> {
  const { clock, store, sql, secrets, securityEvents, issuer, audience } = settings
  const { now } = clock
  const keepMs = settings.accessLifetimeMs + CLOCK_MARGIN_MS
  const reportState = createStateReport(settings.log)
  if (sql !== undefined) await migrateApiKeys(sql)
  const ring = createKeyRing({
    keys: settings.keys,
    acceptRsa2048: settings.acceptRsa2048,
    createVerifier: (publicPem, algorithm) =>
      createSignatureVerifier(publicPem, algorithm, { issuer, audience }),
    now,
    overlapMs: keepMs,
  })
  const tokens = { ring, issuer, audience, lifetimeMs: settings.accessLifetimeMs, now }
  const context = createContext(settings, createTokenIssuer(tokens), keepMs, reportState)
  const { revocations } = context
  const repository = sql === undefined ? createStoreApiKeys(store) : createSqlApiKeys(sql)
  const apiKeys = createApiKeys(repository, now, settings.apiKeyPrefix)
  const verifyToken = createTokenVerifier(tokens)
  const authenticator = createAuthenticator({ verifyToken, revocations, apiKeys, securityEvents })
  const sessions = new SessionService({ context, ring, authenticator, apiKeys, securityEvents })
  const singleSignOn = createSingleSignOn({ providers: settings.oidc, store, secrets, now })
  const logins = createLoginService({
    context,
    sessions,
    singleSignOn,
    verifyToken,
    secrets,
    securityEvents,
  })
  return {
    sessions,
    authenticator,
    logins,
    async start() {
      await revocations.start()
      if (revocations.state === 'checked') reportState('checked')
    },
    stop: () => revocations.stop(),
  }
}

function createContext(
  settings: ServiceSettings,
  issueToken: SessionContext['issueToken'],
  keepMs: number,
  reportState: StateReport,
): SessionContext {
  const { clock, store, log } = settings
  const epochs = createEpochs(store, clock.now, settings.refreshAbsoluteMs + keepMs)
  return {
    store,
    now: clock.now,
    lifetimes: settings,
    maxSessionsPerUser: settings.maxSessionsPerUser,
    findUser: settings.findUser,
    epochs,
    issueToken,
    refreshTokens: createRefreshTokens(settings.secrets),
    revocations: createRevocationList({
      store,
      epochs,
      clock,
      keepMs,
      onStateChange: reportState,
      // Repeated every 500 ms while the store is down; the change of state is logged once.
      onError: (error) => log.debug({ err: error }, FAILED),
    }),
  }
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
