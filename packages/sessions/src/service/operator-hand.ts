/** What an operator does to the account of someone else. Each operation can be repeated. */
import type { SecurityEvents } from '@parapet/kit'
import type { NoticeDetails, NoticeKind } from '../accounts/account.ts'
import { isLockedAt, type AccountStates } from '../accounts/account-state.ts'
import {
  PARAPET_SESSIONS_IMPERSONATION_REFUSED,
  PARAPET_SESSIONS_INVALID_ARGUMENT,
} from '../errors.ts'
import { lookUpUser, type SessionContext } from '../session/context.ts'
import type { SessionGrant } from '../session/grant.ts'
import { noteImpersonation } from '../session/impersonations.ts'
import { startSession } from '../session/start-session.ts'
import type { AccessToken } from '../tokens/access-token.ts'
import { describeValue } from '../users/describe-value.ts'
import { isName } from '../users/names.ts'
import { requireUserId, UNPROVED_AT } from '../users/user.ts'
import type { RequestLike } from '../users/request-like.ts'
import type { SessionOperations } from './operations.ts'
import type {
  AccountStatus,
  Impersonation,
  LockAction,
  OperatorAction,
  OperatorHand,
  ResetAction,
} from './operator-operations.ts'

/** What {@link createOperatorHand} needs. */
export interface OperatorHandSettings {
  readonly context: SessionContext
  readonly states: AccountStates
  readonly sessions: Pick<SessionOperations, 'revoke' | 'disableUser'>
  readonly securityEvents: SecurityEvents
  /** Sends a notice. @default nothing, without the option `account` */
  readonly notify: (userId: string, kind: NoticeKind, details: NoticeDetails) => Promise<void>
  /** Sends a link to reset the password. */
  readonly sendReset: (userId: string) => Promise<void>
  /** What is stored of a user, beside sessions and API keys. */
  readonly stored: readonly { forget(userId: string): Promise<void> }[]
}

/** Creates the operations. */
export function createOperatorHand(settings: OperatorHandSettings): OperatorHand {
  const hand = new Operations(settings)
  return {
    lockAccount: (...given) => hand.lock(...given),
    unlockAccount: (...given) => hand.unlock(...given),
    requirePasswordReset: (...given) => hand.requireReset(...given),
    liftPasswordReset: (...given) => hand.lift(RESET, ...given),
    forceSecondFactor: (...given) => hand.forceFactor(...given),
    liftSecondFactor: (...given) => hand.lift(FACTOR, ...given),
    resealAccounts: () => settings.states.resealAll(),
    accountStatus: (userId) => hand.status(userId),
    impersonate: (...given) => hand.impersonate(...given),
    forgetUser: (userId) => hand.forget(userId),
  }
}

/** What can be required of an account until its owner has done it. */
const RESET = {
  member: 'resetRequiredSince',
  required: 'sessions.password_reset_required',
  lifted: 'sessions.password_reset_lifted',
  notice: 'password_reset_required',
  ends: 'the password must be reset',
} as const
const FACTOR = {
  member: 'secondFactorSince',
  required: 'sessions.second_factor_forced',
  lifted: 'sessions.second_factor_lifted',
  notice: 'second_factor_forced',
  ends: 'a second factor is required',
} as const
type Requirement = typeof RESET | typeof FACTOR

class Operations {
  readonly #settings: OperatorHandSettings

  constructor(settings: OperatorHandSettings) {
    this.#settings = settings
  }

  async lock(userId: string, action: LockAction = {}, request?: RequestLike): Promise<void> {
    const { context, states, securityEvents, notify } = this.#settings
    const { until = null } = action
    const { reason, by } = readAction(userId, action, ['until'])
    requireUntil(until, context.now())
    const lock = { until, reason, at: context.now(), by }
    // Also over a record that cannot be read: a lock opens nothing, and then the account can be unlocked.
    await states.replace(userId, (state) => ({ ...state, lock }))
    await this.#endSessions(userId, 'the account was locked')
    const details = { reason, until, by }
    securityEvents.emit('sessions.account_locked', { ...about(userId), details }, request)
    await notify(userId, 'account_locked', { reason, until })
  }

  async unlock(userId: string, action: OperatorAction = {}, request?: RequestLike): Promise<void> {
    const { states, securityEvents, notify } = this.#settings
    const details = readAction(userId, action)
    await states.update(userId, (state) => ({ ...state, lock: null }))
    securityEvents.emit('sessions.account_unlocked', { ...about(userId), details }, request)
    await notify(userId, 'account_unlocked', {})
  }

  async requireReset(
    userId: string,
    action: ResetAction = {},
    request?: RequestLike,
  ): Promise<void> {
    const { exceptSessionId } = action
    const details = readAction(userId, action, ['exceptSessionId'])
    if (exceptSessionId !== undefined) requireText('exceptSessionId', exceptSessionId)
    await this.#require(RESET, userId, details, request, exceptSessionId)
    await this.#settings.sendReset(userId)
  }

  async forceFactor(userId: string, action?: OperatorAction, request?: RequestLike): Promise<void> {
    await this.#require(FACTOR, userId, readAction(userId, action), request)
  }

  /** Takes back what is required of an account. */
  async lift(
    { member, lifted }: Requirement,
    userId: string,
    action?: OperatorAction,
    request?: RequestLike,
  ): Promise<void> {
    const { states, securityEvents } = this.#settings
    const details = readAction(userId, action)
    await states.update(userId, (state) => ({ ...state, [member]: null }))
    securityEvents.emit(lifted, { ...about(userId), details }, request)
  }

  async status(userId: string): Promise<AccountStatus> {
    const { context, states } = this.#settings
    requireUserId(userId)
    const state = await states.read(userId)
    return {
      locked: isLockedAt(state, context.now()) ? state.lock : null,
      passwordResetRequired: state.resetRequiredSince !== null,
      secondFactorForced: state.secondFactorSince !== null,
    }
  }

  async impersonate(
    operator: AccessToken,
    userId: string,
    { reason, maxAgeMs = 900_000 }: Impersonation,
    request?: RequestLike,
  ): Promise<SessionGrant> {
    const { context, securityEvents, notify } = this.#settings
    requireText('reason', reason)
    requireAge(maxAgeMs)
    const user = await findImpersonated(context, operator, userId)
    const endsAt = context.now() + maxAgeMs
    const actor = { id: operator.user.id, endsAt }
    const device = request === undefined ? {} : { ip: request.ip }
    const proof = { amr: ['imp'], authenticatedAt: UNPROVED_AT }
    const grant = await startSession(context, user, proof, device, { actor })
    await noteImpersonation(context, actor.id, grant.sessionId, maxAgeMs)
    const { sessionId } = grant
    const details = { reason, endsAt }
    const fields = { principalId: actor.id, sessionId, ...resourceOf(userId), details }
    securityEvents.emit('sessions.impersonation_started', fields, request)
    await notify(userId, 'impersonated', { reason, until: endsAt })
    return grant
  }

  async forget(userId: string): Promise<void> {
    const { sessions, stored } = this.#settings
    // Ended first: a session that begins meanwhile would note its device.
    await sessions.disableUser(userId)
    for (const each of stored) await each.forget(userId)
  }

  async #require(
    { member, required, notice, ends }: Requirement,
    userId: string,
    details: ReadAction,
    request?: RequestLike,
    exceptSessionId?: string,
  ): Promise<void> {
    const { context, states, securityEvents, notify } = this.#settings
    await states.update(userId, (state) => ({ ...state, [member]: context.now() }))
    await this.#endSessions(userId, ends, exceptSessionId)
    securityEvents.emit(required, { ...about(userId), details }, request)
    await notify(userId, notice, { reason: details.reason })
  }

  /** After the state was written: a login in between is ended by one of the two. */
  async #endSessions(userId: string, reason: string, exceptSessionId?: string): Promise<void> {
    const except = exceptSessionId === undefined ? undefined : { exceptSessionId }
    await this.#settings.sessions.revoke({ userId, keepApiKeys: true, ...except }, reason)
  }
}

async function findImpersonated(
  { findUser, mayImpersonate }: SessionContext,
  operator: AccessToken,
  userId: string,
) {
  if (findUser === undefined) {
    throw new PARAPET_SESSIONS_INVALID_ARGUMENT('findUser', 'the option to be set', 'nothing')
  }
  const { user, actorId, isFactorDue } = operator
  if (actorId !== undefined || isFactorDue === true || user.id === userId) {
    throw new PARAPET_SESSIONS_IMPERSONATION_REFUSED()
  }
  // As they are now: the token of the operator may be older than a change of the roles.
  const [by, found] = await Promise.all([
    lookUpUser(findUser, user.id),
    lookUpUser(findUser, userId),
  ])
  if (by === null || found === null || !(await mayImpersonate(by, found))) {
    throw new PARAPET_SESSIONS_IMPERSONATION_REFUSED()
  }
  return found
}

function about(userId: string) {
  return { principalId: userId, ...resourceOf(userId) }
}

function resourceOf(userId: string) {
  return { resourceType: 'user', resourceId: userId }
}

/** Why an operator acts, and who it is; `null`: the service. */
interface ReadAction {
  readonly reason: string
  readonly by: string | null
}

/** Before anything is written. A misspelt `until` would lock for ever. */
function readAction(
  userId: string,
  action: OperatorAction = {},
  others: readonly string[] = [],
): ReadAction {
  requireUserId(userId)
  const { reason = 'by the service', by } = action
  const known = ['reason', 'by', ...others]
  const unknown = Object.keys(action).find((name) => !known.includes(name))
  if (unknown !== undefined) {
    const expected = `only ${known.join(', ')}`
    throw new PARAPET_SESSIONS_INVALID_ARGUMENT('action', expected, describeValue(unknown))
  }
  requireText('reason', reason)
  if (by !== undefined) requireText('by', by)
  return { reason, by: by ?? null }
}

function requireText(name: string, value: unknown): void {
  if (isName(value, 300)) return
  const expected = 'a string of 1 to 300 characters'
  throw new PARAPET_SESSIONS_INVALID_ARGUMENT(name, expected, describeValue(value))
}

/** A time in seconds is long past: the lock would end at once, after all sessions were ended and a notice was sent. */
function requireUntil(until: number | null, now: number): void {
  if (until === null || (Number.isSafeInteger(until) && until > now)) return
  const expected = 'milliseconds since the Unix epoch, later than now, or null'
  throw new PARAPET_SESSIONS_INVALID_ARGUMENT('until', expected, describeValue(until))
}

function requireAge(maxAgeMs: number): void {
  if (Number.isSafeInteger(maxAgeMs) && maxAgeMs >= 60_000 && maxAgeMs <= 3_600_000) return
  const expected = 'an integer from 60000 to 3600000 (milliseconds)'
  throw new PARAPET_SESSIONS_INVALID_ARGUMENT('maxAgeMs', expected, describeValue(maxAgeMs))
}
