/** Ways back for the owner of an account that someone else has changed: to the former address, and to no second factor. */
import type { SecurityEvents } from '@parapet/kit'
import type { Account, AccountDirectory, NoticeDetails, NoticeKind } from '../accounts/account.ts'
import type { AccountStates, WayBack } from '../accounts/account-state.ts'
import { hashSecret, readLinkToken, type AccountTokens } from '../accounts/account-tokens.ts'
import { findById } from '../accounts/find-account.ts'
import type { Mailer } from '../accounts/mailer.ts'
import { PARAPET_SESSIONS_LINK_REFUSED } from '../errors.ts'
import { callPort, type SecondFactor } from '../second-factor/second-factor.ts'
import { sourceOf, type RequestLike } from '../users/request-like.ts'
import { hasFactor } from './fresh-login.ts'
import type { LinkedIdentities } from './linked-identities.ts'

/** What {@link WaysBack} needs. */
export interface WaysBackSettings {
  readonly directory: AccountDirectory
  readonly tokens: AccountTokens
  readonly states: AccountStates
  readonly mailer: Mailer
  readonly identities: Pick<LinkedIdentities, 'removeSince'>
  /** `undefined`: no user has a second factor. */
  readonly secondFactor: SecondFactor | undefined
  readonly securityEvents: SecurityEvents
  /** Ends the sessions and API keys of a user. */
  readonly endAccess: (userId: string) => Promise<void>
  readonly now: () => number
}

/** What happened to the second factors of a user. A notice of `@parapet/mfa` satisfies it. */
export interface FactorChange {
  readonly kind: 'enrolled' | 'removed' | 'backup_code_used' | 'locked' | 'reset'
  readonly userId: string
  readonly factor?: string
  /** The account had no second factor before. */
  readonly isFirst?: boolean
  /** The client address. */
  readonly ip?: string
}

/** How long a way back works, in milliseconds. */
const WAY_BACK_MS = 259_200_000
/** How many ways back an account can have at once. */
const MAX_WAYS_BACK = 5

const NOTICES: Readonly<Record<FactorChange['kind'], NoticeKind>> = {
  enrolled: 'factor_enrolled',
  removed: 'factor_removed',
  backup_code_used: 'backup_code_used',
  locked: 'factor_locked',
  reset: 'factors_reset',
}

/** Opens ways back, and leads back by them. */
export class WaysBack {
  readonly #settings: WaysBackSettings

  constructor(settings: WaysBackSettings) {
    this.#settings = settings
  }

  /**
   * Replaces the address by the result of `save`. The former one gets a notice with a way back.
   *
   * @throws PARAPET_SESSIONS_LINK_REFUSED `save` returned `false`, or there are too many ways back.
   */
  async replaceAddress(
    { user, email }: Account,
    request: RequestLike,
    save: () => Promise<boolean>,
  ): Promise<void> {
    const { mailer, states } = this.#settings
    const way = await this.#add(user.id, email, await this.#isWithoutFactor(user, request))
    // Otherwise many changes in a row would push the first address out of the list.
    if (way === null) throw new PARAPET_SESSIONS_LINK_REFUSED()
    const notice = await mailer.announceChange(user.id, way)
    if (!(await save())) {
      await notice.withdraw()
      await states.update(user.id, (state) => ({
        ...state,
        waysBack: state.waysBack.filter(({ expiresAt }) => expiresAt !== way.expiresAt),
      }))
      throw new PARAPET_SESSIONS_LINK_REFUSED()
    }
    await notice.send()
  }

  /** Sends a notice of a change of the second factors. The first factor has a way back. */
  async reportFactor({ kind, userId, factor, isFirst, ip }: FactorChange): Promise<void> {
    const { directory, mailer, secondFactor } = this.#settings
    const details: NoticeDetails = {
      ...(factor === undefined ? undefined : { factor }),
      ...(ip === undefined ? undefined : { ip }),
    }
    const account = await findById(directory, userId)
    if (account === null) return
    // An address that nobody has verified may be that of someone else.
    const isOpen = isFirst === true && account.isEmailVerified
    const way =
      isOpen && secondFactor?.removeAll !== undefined
        ? await this.#add(userId, account.email, true)
        : null
    if (way === null) return mailer.notify(userId, NOTICES[kind], details)
    await mailer.notifyWithWayBack(userId, NOTICES[kind], details, way)
  }

  /**
   * Puts the address and the second factor back as they were when the way back was opened, ends every session and API
   * key, removes the identities that were linked since, and asks for a new password: the person who made the change may
   * know the old one.
   *
   * @throws PARAPET_SESSIONS_LINK_REFUSED
   */
  async use(token: string, request: RequestLike): Promise<void> {
    const { directory, states, tokens, mailer, identities, endAccess, now } = this.#settings
    const link = readLinkToken('undo', token)
    if (link === null) throw new PARAPET_SESSIONS_LINK_REFUSED()
    const { userId } = link
    const hash = hashSecret(link.secret)
    const { waysBack } = await states.read(userId)
    const way = waysBack.find((each) => each.hash === hash && each.expiresAt > now())
    const account = way === undefined ? null : await findById(directory, userId)
    if (way === undefined || account === null) throw new PARAPET_SESSIONS_LINK_REFUSED()
    const { email, expiresAt, removesFactors } = way
    await tokens.clear(userId)
    const isReplaced = account.email !== email
    if (isReplaced && !(await callPort(() => directory.saveEmail(userId, email, account.email)))) {
      throw new PARAPET_SESSIONS_LINK_REFUSED()
    }
    // From here on, the person who made the change can neither log in nor go on to add another way in.
    await states.update(userId, (state) => ({ ...state, resetRequiredSince: now() }))
    await endAccess(userId)
    await identities.removeSince(userId, expiresAt - WAY_BACK_MS, 'the account was put back')
    if (removesFactors === true) {
      await callPort(async () => this.#settings.secondFactor?.removeAll?.(userId, { request }))
    }
    // The ways back of later changes belong to the person who made them. Last, so that a click after a crash goes on.
    await states.update(userId, (state) => {
      const end = state.waysBack.findIndex((each) => each.hash === hash)
      return end === -1 ? null : { ...state, waysBack: state.waysBack.slice(0, end) }
    })
    await endAccess(userId)
    await this.#reportUse(userId, isReplaced, request)
    await mailer.request('owed-reset', email)
  }

  async #reportUse(principalId: string, isReplaced: boolean, request: RequestLike): Promise<void> {
    const { securityEvents, mailer } = this.#settings
    const type = isReplaced ? 'sessions.email_change_undone' : 'sessions.factor_undone'
    securityEvents.emit(type, { principalId, details: {} }, request)
    const notice = isReplaced ? 'email_change_undone' : 'factor_undone'
    await mailer.notify(principalId, notice, sourceOf(request))
  }

  /** @returns `null`: there are too many. */
  async #add(userId: string, email: string, removesFactors: boolean): Promise<WayBack | null> {
    const { states, now } = this.#settings
    const expiresAt = now() + WAY_BACK_MS
    const factors = removesFactors ? ({ removesFactors } as const) : undefined
    let way: WayBack | null = null
    await states.update(userId, (state) => {
      const kept = state.waysBack.filter((each) => each.expiresAt > now())
      // Two of one millisecond would be one.
      const end = Math.max(expiresAt, ...kept.map((each) => each.expiresAt + 1))
      way = kept.length < MAX_WAYS_BACK ? { email, hash: null, expiresAt: end, ...factors } : null
      return way === null ? null : { ...state, waysBack: [...kept, way] }
    })
    return way
  }

  async #isWithoutFactor(user: Account['user'], request: RequestLike): Promise<boolean> {
    const { secondFactor } = this.#settings
    if (secondFactor?.removeAll === undefined) return false
    return !(await hasFactor(secondFactor, { user, amr: [] }, request))
  }
}
