/** What users change of their own account while they are logged in. */
import { clientKey, type SecurityEvents, type Store } from '@parapet/kit'
import type { Account, AccountDirectory } from '../accounts/account.ts'
import type { AccountTokens } from '../accounts/account-tokens.ts'
import { findById } from '../accounts/find-account.ts'
import type { Mailer } from '../accounts/mailer.ts'
import {
  PARAPET_SESSIONS_IMPERSONATED,
  PARAPET_SESSIONS_PROOF_REQUIRED,
  PARAPET_SESSIONS_TOO_MANY_TRIES,
  PARAPET_SESSIONS_UNAUTHENTICATED,
} from '../errors.ts'
import type { SecondFactor } from '../second-factor/second-factor.ts'
import { verifyPassword } from '../passwords/hash-password.ts'
import type { AccessToken } from '../tokens/access-token.ts'
import { sourceOf, type RequestLike } from '../users/request-like.ts'
import type { AccountService, NewPassword } from './account-service.ts'
import { FRESH_MS, freshFactorError, hasFactor } from './fresh-login.ts'
import type { SessionOperations } from './operations.ts'

/** What {@link OwnAccount} needs. */
export interface OwnAccountSettings {
  readonly accounts: AccountService
  readonly directory: AccountDirectory
  readonly mailer: Mailer
  readonly tokens: Pick<AccountTokens, 'birthOf'>
  readonly store: Store
  readonly sessions: Pick<SessionOperations, 'revoke'>
  /** `undefined`: no user has a second factor. */
  readonly secondFactor: SecondFactor | undefined
  readonly securityEvents: SecurityEvents
  readonly now: () => number
}

/** Methods that are no factor of their own beside the password. */
const WEAK_METHODS: ReadonlySet<string> = new Set(['pwd', 'email', 'imp'])
/** With a stolen token the password could be guessed. @see NIST SP 800-63B-4, section 3.2.2 */
const PER_CLIENT = { windowMs: 900_000, limit: 10 }
const PER_ACCOUNT = { windowMs: 86_400_000, limit: 100 }

/** The steps behind the routes of a user who is logged in. */
export class OwnAccount {
  readonly #settings: OwnAccountSettings

  constructor(settings: OwnAccountSettings) {
    this.#settings = settings
  }

  /**
   * Changes the password, and ends every other session.
   *
   * @param current the password as it is; `undefined`: the session has shown a factor just now.
   */
  async changePassword(
    token: AccessToken,
    current: string | undefined,
    next: NewPassword,
    request: RequestLike,
  ): Promise<void> {
    const { accounts, sessions, mailer, securityEvents } = this.#settings
    const account = await this.#prove(token, current, request)
    const { id } = account.user
    const passwordHash = await accounts.hashAccepted(account, next.password)
    const { sessionId: exceptSessionId } = token
    const keepApiKeys = next.keepApiKeys === true
    const saved = await accounts.replacePassword(account, passwordHash, () =>
      sessions.revoke({ userId: id, exceptSessionId, keepApiKeys }, 'the password was changed'),
    )
    if (!saved) throw new PARAPET_SESSIONS_PROOF_REQUIRED()
    securityEvents.emit('sessions.password_changed', { principalId: id, details: {} }, request)
    await mailer.notify(id, 'password_changed', sourceOf(request))
  }

  /** Sends a link to the new address. The address changes when the link is used. */
  async requestEmailChange(
    token: AccessToken,
    current: string | undefined,
    email: string,
    request: RequestLike,
  ): Promise<void> {
    const { mailer, tokens } = this.#settings
    // Before the proof, which may be none any more when the message is sent.
    const born = await tokens.birthOf(token.user.id)
    const { user } = await this.#prove(token, current, request)
    await mailer.requestChange(user.id, email, born)
    await mailer.notify(user.id, 'email_change_requested', sourceOf(request))
  }

  /**
   * @throws PARAPET_SESSIONS_PROOF_REQUIRED, PARAPET_SESSIONS_FRESH_FACTOR_REQUIRED,
   *   PARAPET_SESSIONS_TOO_MANY_TRIES, PARAPET_SESSIONS_IMPERSONATED
   */
  async #prove(
    token: AccessToken,
    current: string | undefined,
    request: RequestLike,
  ): Promise<Account> {
    const { directory, now, secondFactor } = this.#settings
    if (token.actorId !== undefined) throw new PARAPET_SESSIONS_IMPERSONATED()
    const account = await findById(directory, token.user.id)
    if (account === null) throw new PARAPET_SESSIONS_UNAUTHENTICATED()
    const isFresh =
      now() - token.authenticatedAt <= FRESH_MS &&
      token.amr.some((method) => !WEAK_METHODS.has(method))
    if (isFresh && current === undefined) return account
    if (!isFresh && (await hasFactor(secondFactor, token, request))) throw freshFactorError()
    // Without a password, only another login is a proof.
    if (!isFresh && account.passwordHash === null) throw freshFactorError()
    if (current === undefined) throw new PARAPET_SESSIONS_PROOF_REQUIRED()
    const keys = triesOf(token.user.id, request)
    // Counted before the password is verified: simultaneous tries count, too.
    await this.#countTry(keys)
    const { passwordHash } = account
    if (passwordHash === null || !(await verifyPassword(passwordHash, current))) {
      const details = { method: 'pwd', loginHash: null }
      const fields = { principalId: token.user.id, details }
      this.#settings.securityEvents.emit('sessions.login_failed', fields, request)
      throw new PARAPET_SESSIONS_PROOF_REQUIRED()
    }
    await Promise.all(keys.map((key) => this.#settings.store.delete(key)))
    return account
  }

  async #countTry([client, account]: readonly [string, string]): Promise<void> {
    const { store } = this.#settings
    for (const [key, window] of [
      [client, PER_CLIENT],
      [account, PER_ACCOUNT],
    ] as const) {
      const { counted, windows } = await store.count(key, [window])
      if (counted) continue
      const seconds = Math.max(1, Math.ceil(windows[0]!.retryAfterMs / 1000))
      const headers = { 'retry-after': String(seconds) }
      throw Object.assign(new PARAPET_SESSIONS_TOO_MANY_TRIES(), { headers })
    }
  }
}

function triesOf(userId: string, { ip }: RequestLike): readonly [client: string, account: string] {
  const account = `sessions:password-tries:${userId}`
  return [`${account}:${clientKey(ip)}`, account]
}
