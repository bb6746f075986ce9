/** Creates the service: connects sessions, API keys, logins, operators and accounts. */
import { findById } from '../accounts/find-account.ts'
import { createApiKeys } from '../api-keys/api-keys.ts'
import { createSqlApiKeys } from '../api-keys/repository-postgres.ts'
import { createRecentKeys } from '../api-keys/recent-keys.ts'
import { createStoreApiKeys } from '../api-keys/repository-store.ts'
import { createSqlLinks } from '../identities/links-postgres.ts'
import { createStoreLinks } from '../identities/links-store.ts'
import { createSingleSignOn } from '../oidc/single-sign-on.ts'
import { deriveKey } from '../secrets/derive-key.ts'
import type { SessionContext } from '../session/context.ts'
import { createLoginHash } from '../secrets/login-hash.ts'
import { createVerifiedTokens } from '../tokens/verified-tokens.ts'
import { createTokenVerifier } from '../tokens/verify-jwt.ts'
import type { SessionOrigin } from '../users/session-origin.ts'
import { createKnownDevices, type KnownDevices } from '../users/known-devices.ts'
import {
  createAccountMail,
  createAccountParts,
  type AccountMail,
  type AccountParts,
} from './account-parts.ts'
import { createAuthenticator, type Authenticator } from './authenticator.ts'
import { createFoundation, type Foundation, type ServiceSettings } from './create-context.ts'
import { createDeviceWatch, type DeviceWatch } from './device-watch.ts'
import { createLoginService, type LoginService } from './login-service.ts'
import { LinkedIdentities } from './linked-identities.ts'
import { migrateSessions } from './migrations.ts'
import { createOperatorHand } from './operator-hand.ts'
import type { OperatorHand } from './operator-operations.ts'
import { OwnIdentities } from './own-identities.ts'
import { createSecondStep, type SecondStep } from './second-step.ts'
import { SessionService } from './session-service.ts'

/** Everything that the HTTP layer may call. */
export interface Service {
  readonly sessions: SessionService
  readonly authenticator: Authenticator
  readonly logins: LoginService
  readonly secondStep: SecondStep
  readonly operator: OperatorHand
  readonly identities: LinkedIdentities
  readonly ownIdentities: OwnIdentities
  /** `undefined` without the option `account`. */
  readonly account: AccountParts | undefined
  /** Subscribes to revocations and loads them. Requests may come before it resolves. */
  start(): Promise<void>
  stop(): Promise<void>
}

const WATCH_FAILED = 'sessions could not look up or report the device of a login'
const KEYS_FAILED = 'sessions could not follow changes of API keys and tries again in 500 ms'

/** Creates the service and, with `sql`, its tables. */
export async function createService(settings: ServiceSettings): Promise<Service> {
  const { sql, securityEvents, findUser, tokenCacheBytes } = settings
  if (sql !== undefined) await migrateSessions(sql)
  const foundation = createFoundation(settings)
  const { context, states, tokens, endedListeners, reportState } = foundation
  const { revocations, uses, gate } = context
  const { apiKeys, recent } = createKeys(settings, foundation)
  const verified = createVerifiedTokens(tokenCacheBytes)
  const verifyToken = createTokenVerifier({ ...tokens, verified })
  const checks = { verifyToken, revocations, uses, apiKeys, findUser, gate, securityEvents }
  const authenticator = createAuthenticator(checks)
  const mail = createAccountMail({ ...settings, context, states })
  const devices = createKnownDevices(
    settings.store,
    deriveKey(settings.secrets[0]!, 'known devices'),
  )
  const deviceWatch = createWatch(settings, mail, devices)
  const { ring } = tokens
  const parts = { context, ring, authenticator, apiKeys, endedListeners, deviceWatch }
  const clearLinks = (userId: string) => mail.tokens.clear(userId)
  const sessions = new SessionService({ ...parts, securityEvents, clearLinks })
  const { notify, sendReset } = mail
  const logins = createLogins(settings, foundation, { sessions, verifyToken, mail })
  const stored = [states, devices, logins.identities]
  const hand = { context, states, sessions, securityEvents, notify, sendReset, stored }
  return {
    sessions,
    authenticator,
    operator: createOperatorHand(hand),
    ...logins,
    async start() {
      await Promise.all([revocations.start(), recent.start(), mail.start()])
      if (revocations.state === 'checked') reportState('checked')
    },
    async stop() {
      await Promise.all([revocations.stop(), recent.stop(), mail.stop()])
    },
  }
}

function createKeys(settings: ServiceSettings, { context }: Foundation) {
  const { store, sql, clock, log, apiKeyPrefix: prefix } = settings
  const repository = sql === undefined ? createStoreApiKeys(store) : createSqlApiKeys(sql)
  const recent = createRecentKeys({
    repository,
    store,
    clock,
    onError: (error) => log.debug({ err: error }, KEYS_FAILED),
  })
  const { seal, now } = context
  return { recent, apiKeys: createApiKeys({ repository, recent, seal, now, prefix }) }
}

function createWatch(
  settings: ServiceSettings,
  { notify }: AccountMail,
  devices: KnownDevices,
): DeviceWatch {
  const { placeOf, securityEvents, log } = settings
  return createDeviceWatch({
    devices,
    placeOf,
    notify,
    securityEvents,
    onError: (error) => log.error({ err: error }, WATCH_FAILED),
  })
}

interface LoginParts {
  readonly sessions: SessionService
  readonly verifyToken: ReturnType<typeof createTokenVerifier>
  readonly mail: AccountMail
}

function createLogins(
  settings: ServiceSettings,
  { context, states }: Foundation,
  { sessions, verifyToken, mail }: LoginParts,
): Pick<Service, 'logins' | 'secondStep' | 'account' | 'identities' | 'ownIdentities'> {
  const { store, secrets, oidc: providers, secondFactor, securityEvents, account } = settings
  const identities = createIdentities(settings, context, mail.notify)
  const singleSignOn = createSingleSignOn({
    providers,
    store,
    secrets,
    acceptRsa2048: settings.acceptRsa2048,
    now: context.now,
    clock: settings.clock,
    sessionMs: settings.refreshAbsoluteMs,
    findLinkedUser: (provider, subject) => identities.findUser(provider, subject),
  })
  const visits = { context, singleSignOn, identities, secondFactor, securityEvents }
  const ownIdentities = new OwnIdentities(visits)
  const ownerOf = (origin: SessionOrigin) => identities.ownerOf(origin)
  const steps = { context, sessions, secondFactor, ownerOf, securityEvents }
  const secondStep = createSecondStep(steps)
  const hashLogin = createLoginHash(secrets[0]!)
  const shared = { context, secondStep, hashLogin, securityEvents }
  return {
    logins: createLoginService({ ...shared, singleSignOn, ownIdentities, verifyToken }),
    secondStep,
    identities,
    ownIdentities,
    account: createAccountParts({
      ...shared,
      account,
      mail,
      states,
      sessions,
      secondFactor,
      identities,
    }),
  }
}

function createIdentities(
  { oidc, linking, account, sql, store, securityEvents }: ServiceSettings,
  context: SessionContext,
  notify: AccountMail['notify'],
): LinkedIdentities {
  const { seal } = context
  const own = () => (sql === undefined ? createStoreLinks(store, seal) : createSqlLinks(sql, seal))
  const hasPassword = async (userId: string): Promise<boolean> => {
    const found = account === undefined ? null : await findById(account.directory, userId)
    return found !== null && found.passwordHash !== null
  }
  return new LinkedIdentities({
    context,
    providers: Object.keys(oidc),
    links: linking === undefined ? undefined : (linking.links ?? own()),
    hasOtherLogin: linking?.hasOtherLogin ?? hasPassword,
    maxLinksPerUser: linking?.maxLinksPerUser ?? 0,
    notify,
    securityEvents,
  })
}
