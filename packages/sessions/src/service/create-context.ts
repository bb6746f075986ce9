/** Creates what the parts of the service share: tokens, seal, epochs, revocations, states of accounts. */
import type { Clock, SecurityEvents, SqlClient, Store } from '@parapet/kit'
import { createAccountStates, type AccountStates } from '../accounts/account-state.ts'
import { createAccountGate } from '../accounts/gate.ts'
import { createSqlStates } from '../accounts/state-postgres.ts'
import { createStoreStates } from '../accounts/state-store.ts'
import type { IdentityLinks } from '../identities/identity-links.ts'
import { createKeyRing } from '../keys/key-ring.ts'
import type { KeySet } from '../keys/read-key.ts'
import type { ProviderSettings } from '../oidc/provider.ts'
import { createEndedListeners, type EndedListeners } from '../revocation/ended-access.ts'
import { createEpochs } from '../revocation/epochs.ts'
import { KnownRevocations } from '../revocation/known-revocations.ts'
import { createRevocationList, type RevocationList } from '../revocation/revocation-list.ts'
import type { SecondFactor } from '../second-factor/second-factor.ts'
import { createRecordSeal, type RecordSeal } from '../secrets/record-seal.ts'
import type { FindUser, SessionContext } from '../session/context.ts'
import type { SessionLifetimes } from '../session/record.ts'
import { createTokenUses } from '../session/token-uses.ts'
import { createTokenIssuer, type TokenIssuerSettings } from '../tokens/issue-jwt.ts'
import { createRefreshTokens } from '../tokens/refresh-token.ts'
import { createSignatureVerifier } from '../tokens/verify-signature.ts'
import type { AccountOptionSettings } from './account-parts.ts'
import type { MayImpersonate, PlaceOf } from '../users/ports.ts'
import { createImpersonationRule } from './impersonation-rule.ts'

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
  /** `undefined`: identities at providers are not linked. */
  readonly linking:
    | {
        readonly links: IdentityLinks | undefined
        readonly hasOtherLogin: ((userId: string) => Promise<boolean>) | undefined
        readonly maxLinksPerUser: number
      }
    | undefined
  readonly account: AccountOptionSettings | undefined
  readonly placeOf: PlaceOf | undefined
  readonly impersonation: { readonly allows: MayImpersonate | undefined }
  readonly apiKeyPrefix: string
  readonly clock: Clock
  readonly securityEvents: SecurityEvents
  readonly log: ServiceLog
}

/** What the parts share. */
export interface Foundation {
  readonly context: SessionContext
  readonly states: AccountStates
  readonly tokens: TokenIssuerSettings
  readonly endedListeners: EndedListeners
  /** Logs when revocations may be missing. */
  readonly reportState: (state: RevocationList['state']) => void
}

/** How far the clocks of instances may differ while a revocation is remembered, in milliseconds. */
const CLOCK_MARGIN_MS = 60_000

const PUSHED = 'sessions knows every revocation; requests need no store call'
const CHECKED =
  'sessions may miss revocations; each request asks the store until its subscription works again'
const LISTENER_FAILED = 'sessions called a listener of onEnded, which threw an error'
const FAILED = 'sessions could not load or share revocations and tries again in 500 ms'

/** Creates the foundation. It does nothing before `revocations.start`. */
export function createFoundation(settings: ServiceSettings): Foundation {
  const { store, sql, clock, log } = settings
  const reportState = createStateReport(log)
  const tokens = createTokens(settings)
  const endedListeners = createEndedListeners((error) => log.error({ err: error }, LISTENER_FAILED))
  const seal = createSeal(settings)
  const storage = sql === undefined ? createStoreStates(store) : createSqlStates(sql)
  const states = createAccountStates(storage, seal, clock.now)
  const parts = { seal, states, endedListeners, reportState }
  const context = createContext(settings, createTokenIssuer(tokens), parts)
  return { context, states, tokens, endedListeners, reportState }
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

interface ContextParts {
  readonly seal: RecordSeal
  readonly states: AccountStates
  readonly endedListeners: EndedListeners
  readonly reportState: StateReport
}

function createContext(
  settings: ServiceSettings,
  issueToken: SessionContext['issueToken'],
  { seal, states, endedListeners, reportState }: ContextParts,
): SessionContext {
  const { clock, store, log, refreshAbsoluteMs, refreshIdleMs } = settings
  const keepMs = keepMsOf(settings)
  const known = new KnownRevocations(clock.now, keepMs)
  const epochs = createEpochs(store, clock.now, refreshAbsoluteMs + keepMs, known)
  return {
    store,
    seal,
    now: clock.now,
    lifetimes: settings,
    maxSessionsPerUser: settings.maxSessionsPerUser,
    findUser: settings.findUser,
    epochs,
    issueToken,
    refreshTokens: createRefreshTokens(settings.secrets),
    uses: createTokenUses(store, refreshIdleMs),
    gate: createAccountGate(states, clock.now),
    mayImpersonate: createImpersonationRule(settings.impersonation.allows),
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

/** Once: the event names each account. */
const CLOSED =
  'sessions cannot read the record of an account, which is closed: no secret of "secrets" gives its seal. Add the ' +
  'removed secret again as the last one; if it is lost, see docs/recipes/accounts.md.'

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
  let isClosedLogged = false
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
      if (record === 'account' && !isClosedLogged) log.error({ userId: resourceId }, CLOSED)
      isClosedLogged ||= record === 'account'
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
