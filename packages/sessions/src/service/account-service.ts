/** What happens to an account by links in messages: reset, verification, magic links, the way back. */
import type { SecurityEvents } from '@parapet/kit'
import type { Account, AccountDirectory } from '../accounts/account.ts'
import type { AccountStates } from '../accounts/account-state.ts'
import type { AccountTokens, FoundToken, TokenPurpose } from '../accounts/account-tokens.ts'
import { findById } from '../accounts/find-account.ts'
import type { Mailer, RequestedMail } from '../accounts/mailer.ts'
import { PARAPET_SESSIONS_LINK_REFUSED, PARAPET_SESSIONS_LOGIN_FAILED } from '../errors.ts'
import { requireAccepted } from '../password-policy/require-accepted.ts'
import type { PasswordPolicy } from '../password-policy/password-policy.ts'
import { hashPassword, verifyPassword } from '../passwords/hash-password.ts'
import { callPort } from '../second-factor/second-factor.ts'
import { sourceOf, type RequestLike } from '../users/request-like.ts'
import type { LinkedIdentities } from './linked-identities.ts'
import type { SessionOperations } from './operations.ts'
import type { LoginResult, SecondStep, StepContext } from './second-step.ts'
import type { WaysBack } from './ways-back.ts'

/** What {@link AccountService} needs. */
export interface AccountServiceSettings {
  readonly directory: AccountDirectory
  readonly policy: PasswordPolicy
  readonly tokens: AccountTokens
  readonly states: AccountStates
  readonly mailer: Mailer
  readonly sessions: Pick<SessionOperations, 'revoke'>
  readonly secondStep: SecondStep
  readonly securityEvents: SecurityEvents
  readonly hashLogin: (login: string) => string
  readonly identities: Pick<LinkedIdentities, 'removeSince'>
  readonly waysBack: WaysBack
}

/** A new password, and whether it ends the API keys as well. */
export interface NewPassword {
  readonly password: string
  /** @default false */
  readonly keepApiKeys?: boolean | undefined
}

/** The steps behind the public routes of accounts. */
export class AccountService {
  readonly #settings: AccountServiceSettings

  constructor(settings: AccountServiceSettings) {
    this.#settings = settings
  }

  /** Asks for a message. Does the same work whether there is an account or not. */
  async request(kind: RequestedMail, email: string, request: RequestLike): Promise<void> {
    const { mailer, securityEvents, hashLogin } = this.#settings
    // Databases refuse such text, and no mailbox has such a name.
    if (!email.isWellFormed() || email.includes('\0')) return
    await mailer.request(kind, email)
    const details = { kind, loginHash: hashLogin(email) }
    securityEvents.emit('sessions.link_requested', { details }, request)
  }

  /** @throws PARAPET_SESSIONS_LINK_REFUSED, PARAPET_SESSIONS_PASSWORD_REFUSED, PARAPET_SESSIONS_BUSY */
  async resetPassword(token: string, next: NewPassword, request: RequestLike): Promise<void> {
    const { directory, identities, securityEvents, mailer } = this.#settings
    const [found, account] = await this.#open('reset', token)
    const { id } = account.user
    // Someone else may have signed up with the address, and have left another way in for its owner's arrival.
    const keepApiKeys = next.keepApiKeys === true && account.isEmailVerified
    // Before the token is used up, so that a refused password can be corrected.
    const passwordHash = await this.hashAccepted(account, next.password)
    await this.#take('reset', found)
    const saved = await this.replacePassword(account, passwordHash, () =>
      this.#endAccess(id, keepApiKeys),
    )
    if (!saved) throw new PARAPET_SESSIONS_LINK_REFUSED()
    if (!account.isEmailVerified) {
      await identities.removeSince(id, 0, 'the address was verified by a reset')
      // The link came to this address.
      await callPort(() => directory.verifyEmail(id, account.email))
    }
    securityEvents.emit('sessions.password_reset', { principalId: id, details: {} }, request)
    await mailer.notify(id, 'password_reset', sourceOf(request))
  }

  /**
   * Marks an address as verified, or replaces the address by the new one.
   *
   * @param password of an account that signed up: somebody else may have signed up with the address, and
   *   the owner of the mailbox must not confirm the password of somebody else.
   * @param sessionUserId the user who is logged in; needs no password.
   * @throws PARAPET_SESSIONS_LINK_REFUSED, PARAPET_SESSIONS_LOGIN_FAILED
   */
  async verifyEmail(
    token: string,
    {
      password,
      sessionUserId,
    }: { readonly password?: string | undefined; readonly sessionUserId: string | null },
    request: RequestLike,
  ): Promise<void> {
    if (token.startsWith('change.')) return this.#changeEmail(token, request)
    const { directory, tokens, securityEvents } = this.#settings
    const [found, account] = await this.#open('verify', token)
    const { id } = account.user
    if (account.passwordHash !== null && sessionUserId !== id) {
      const isRight =
        password !== undefined && (await verifyPassword(account.passwordHash, password))
      if (!isRight) {
        await tokens.countTry('verify', found)
        throw new PARAPET_SESSIONS_LOGIN_FAILED()
      }
    }
    await this.#take('verify', found)
    if (!(await callPort(() => directory.verifyEmail(id, account.email)))) {
      throw new PARAPET_SESSIONS_LINK_REFUSED()
    }
    securityEvents.emit('sessions.email_verified', { principalId: id, details: {} }, request)
  }

  /** Finishes a login by a magic link. @throws PARAPET_SESSIONS_LINK_REFUSED, and what a login throws. */
  async finishMagicLink(token: string, step: StepContext): Promise<LoginResult> {
    const { directory, tokens, secondStep } = this.#settings
    const [found, account] = await this.#open('magic', token)
    await this.#take('magic', found)
    const isStillValid = async (): Promise<boolean> => {
      const now = await findById(directory, found.userId)
      return now !== null && tokens.isCurrent(found, now)
    }
    return secondStep.begin(account.user, { amr: ['email'] }, step, undefined, isStillValid)
  }

  /** Hashes a password that the policy accepts. @throws PARAPET_SESSIONS_PASSWORD_REFUSED */
  async hashAccepted({ email, words = [] }: Account, password: string): Promise<string> {
    const { policy } = this.#settings
    await requireAccepted(policy, password, { words: [email, ...words] })
    return hashPassword(password)
  }

  /**
   * Saves a password and ends what the old one gave access to: before, so that a crash leaves no session of
   * the person who knew the old one, and after, for a login with it in between. A required reset is done by it.
   *
   * @returns `false`: the password was changed by another request meanwhile.
   */
  async replacePassword(
    { user, passwordHash: previous }: Account,
    passwordHash: string,
    endAccess: () => Promise<void>,
  ): Promise<boolean> {
    const { directory, states } = this.#settings
    await endAccess()
    const saved = await callPort(() => directory.savePassword(user.id, passwordHash, previous))
    if (!saved) return false
    await endAccess()
    await states.update(user.id, (state) =>
      state.resetRequiredSince === null ? null : { ...state, resetRequiredSince: null },
    )
    return true
  }

  async #changeEmail(token: string, request: RequestLike): Promise<void> {
    const { directory, waysBack, securityEvents } = this.#settings
    const [found, account] = await this.#open('change', token)
    const { newEmail } = found
    if (newEmail === null) throw new PARAPET_SESSIONS_LINK_REFUSED()
    await this.#take('change', found)
    const { id } = account.user
    const save = async (): Promise<boolean> => {
      const isSaved = await callPort(() => directory.saveEmail(id, newEmail, account.email))
      const fields = { principalId: id, details: {} }
      if (isSaved) securityEvents.emit('sessions.email_changed', fields, request)
      return isSaved
    }
    // The former address may be that of someone else: a way back there would give them the account.
    if (account.isEmailVerified) await waysBack.replaceAddress(account, request, save)
    else if (!(await save())) throw new PARAPET_SESSIONS_LINK_REFUSED()
  }

  /** @throws PARAPET_SESSIONS_LINK_REFUSED */
  async #open(purpose: TokenPurpose, token: string): Promise<[FoundToken, Account]> {
    const { directory, tokens } = this.#settings
    const found = await tokens.find(purpose, token)
    const account = found === null ? null : await findById(directory, found.userId)
    if (found === null || account === null || !(await tokens.isCurrent(found, account))) {
      throw new PARAPET_SESSIONS_LINK_REFUSED()
    }
    return [found, account]
  }

  /** @throws PARAPET_SESSIONS_LINK_REFUSED another request has used it. */
  async #take(purpose: TokenPurpose, found: FoundToken): Promise<void> {
    if (!(await this.#settings.tokens.take(purpose, found))) {
      throw new PARAPET_SESSIONS_LINK_REFUSED()
    }
  }

  async #endAccess(userId: string, keepApiKeys: boolean): Promise<void> {
    await this.#settings.sessions.revoke({ userId, keepApiKeys }, 'the password was replaced')
  }
}
