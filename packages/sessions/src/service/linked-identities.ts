/** Links identities at providers to users, and reports each change. */
import type { SecurityEvents } from '@parapet/kit'
import {
  PARAPET_SESSIONS_IDENTITY_TAKEN,
  PARAPET_SESSIONS_INVALID_ARGUMENT,
  PARAPET_SESSIONS_LAST_LOGIN,
  PARAPET_SESSIONS_NOT_FOUND,
  PARAPET_SESSIONS_TOO_MANY_LINKS,
} from '../errors.ts'
import {
  idOfIdentity,
  type AddedLink,
  type Identity,
  type IdentityLinks,
  type LinkedIdentity,
} from '../identities/identity-links.ts'
import type { NoticeDetails } from '../accounts/account.ts'
import { callPort } from '../second-factor/second-factor.ts'
import { lookUpUser, type SessionContext } from '../session/context.ts'
import { endSession } from '../session/end-session.ts'
import { sessionsOf } from '../session/provider-session.ts'
import { CLOCK_SKEW_MS } from '../tokens/claims.ts'
import { describeValue } from '../users/describe-value.ts'
import { isName } from '../users/names.ts'
import { sourceOf, type RequestLike } from '../users/request-like.ts'
import { requireUserId, type SessionUser } from '../users/user.ts'
import { emitEnded } from './emit-revoked.ts'
import { readRecord } from './live-record.ts'
import type { Notify } from './device-watch.ts'

/** A link as its user sees it. */
export interface IdentityView extends LinkedIdentity {
  /** 22 characters, safe in a path. */
  readonly id: string
}

/** The operations on links at `app.sessions`. They need the option `linking`. */
export interface IdentityOperations {
  /** @throws PARAPET_SESSIONS_INVALID_ARGUMENT, PARAPET_SESSIONS_UNAVAILABLE */
  listIdentities(userId: string): Promise<readonly IdentityView[]>
  /**
   * Links an identity of which the caller has a proof, for instance from another system. Equal e-mail
   * addresses are no proof: their owners may differ.
   *
   * @throws PARAPET_SESSIONS_IDENTITY_TAKEN, PARAPET_SESSIONS_NOT_FOUND there is no provider of this name,
   *   PARAPET_SESSIONS_TOO_MANY_LINKS, PARAPET_SESSIONS_INVALID_ARGUMENT, PARAPET_SESSIONS_UNAVAILABLE
   */
  linkIdentity(userId: string, identity: Identity): Promise<void>
  /**
   * Removes a link, also the last one, and ends the sessions that came from it.
   *
   * @param id from `listIdentities`.
   * @throws PARAPET_SESSIONS_NOT_FOUND, PARAPET_SESSIONS_INVALID_ARGUMENT, PARAPET_SESSIONS_UNAVAILABLE
   */
  unlinkIdentity(userId: string, id: string): Promise<void>
}

/** What {@link LinkedIdentities} needs. */
export interface LinkedIdentitySettings {
  readonly context: SessionContext
  /** The names of the providers. */
  readonly providers: readonly string[]
  /** `undefined`: there are no links. */
  readonly links: IdentityLinks | undefined
  readonly hasOtherLogin: (userId: string) => Promise<boolean>
  readonly maxLinksPerUser: number
  readonly notify: Notify
  readonly securityEvents: SecurityEvents
}

/** The session and the request of a user who changes the own links. */
export interface LinkChange {
  readonly sessionId: string
  readonly request: RequestLike
}

const MAX_SUBJECT_LENGTH = 255

/** The links of all users. */
export class LinkedIdentities implements IdentityOperations {
  readonly #settings: LinkedIdentitySettings

  constructor(settings: LinkedIdentitySettings) {
    this.#settings = settings
  }

  async listIdentities(userId: string): Promise<readonly IdentityView[]> {
    const links = this.requireLinks()
    requireUserId(userId)
    const found = await callPort(() => links.list(userId))
    return found.map(({ provider, subject, linkedAt }) => {
      return { id: idOfIdentity({ provider, subject }), provider, subject, linkedAt }
    })
  }

  async linkIdentity(userId: string, { provider, subject }: Identity): Promise<void> {
    requireUserId(userId)
    if (!isName(subject, MAX_SUBJECT_LENGTH)) {
      const expected = `a string of 1 to ${MAX_SUBJECT_LENGTH} characters`
      throw new PARAPET_SESSIONS_INVALID_ARGUMENT('subject', expected, describeValue(subject))
    }
    if (!this.#settings.providers.includes(provider)) throw new PARAPET_SESSIONS_NOT_FOUND()
    await this.add(userId, { provider, subject })
  }

  /** Removes all links of a user who does not exist any more. */
  async forget(userId: string): Promise<void> {
    const { links } = this.#settings
    if (links === undefined) return
    for (const { provider, subject } of await callPort(() => links.list(userId))) {
      await callPort(() => links.remove(userId, { provider, subject }, () => true))
    }
  }

  /** Removes the links that were made since a time, because the account was in the hands of someone else. */
  async removeSince(userId: string, since: number, reason: string): Promise<void> {
    const { links } = this.#settings
    if (links === undefined) return
    for (const identity of await callPort(() => links.list(userId))) {
      // Another instance may have made the link.
      if (identity.linkedAt < since - CLOCK_SKEW_MS) continue
      const { provider, subject } = identity
      const result = await callPort(() => links.remove(userId, { provider, subject }, () => true))
      if (result === 'removed') await this.#reportRemoved(userId, identity, reason)
    }
  }

  /** Whether a user may have one more link. @throws PARAPET_SESSIONS_TOO_MANY_LINKS */
  async requireRoom(userId: string): Promise<void> {
    const { length } = await this.listIdentities(userId)
    if (length >= this.#settings.maxLinksPerUser) throw new PARAPET_SESSIONS_TOO_MANY_LINKS()
  }

  async unlinkIdentity(userId: string, id: string): Promise<void> {
    requireUserId(userId)
    await this.#remove(userId, id, 'by the service', () => true)
  }

  /** Removes a link of a user. @throws PARAPET_SESSIONS_LAST_LOGIN */
  async removeOwn(userId: string, id: string, change: LinkChange): Promise<void> {
    const { providers, hasOtherLogin } = this.#settings
    const hasOther = await callPort(() => hasOtherLogin(userId))
    // A link at a provider that is not configured any more logs nobody in.
    const mayRemove = (left: readonly Identity[]): boolean =>
      hasOther || left.some(({ provider }) => providers.includes(provider))
    await this.#remove(userId, id, 'by the user', mayRemove, change)
  }

  async add(userId: string, { provider, subject }: Identity, change?: LinkChange): Promise<void> {
    const { context, securityEvents, maxLinksPerUser, notify } = this.#settings
    const links = this.requireLinks()
    const identity = { provider, subject, linkedAt: context.now() }
    const result = await callPort(() => links.add(userId, identity, maxLinksPerUser), requireAdded)
    if (result === 'taken') throw new PARAPET_SESSIONS_IDENTITY_TAKEN()
    if (result === 'full') throw new PARAPET_SESSIONS_TOO_MANY_LINKS()
    if (result === 'present') return
    const fields = { ...fieldsOf(userId, identity, change), details: { provider, subject } }
    securityEvents.emit('sessions.identity_linked', fields, change?.request)
    await notify(userId, 'identity_linked', noticeOf(identity, change))
  }

  /** The id of the user to whom an identity is linked. */
  async ownerOf({ provider, subject }: Identity): Promise<string | null> {
    const { links } = this.#settings
    return links === undefined ? null : callPort(() => links.find({ provider, subject }))
  }

  /** The user to whom an identity is linked. `undefined`: to none. `null`: to one who is gone. */
  async findUser(provider: string, subject: string): Promise<SessionUser | null | undefined> {
    const userId = await this.ownerOf({ provider, subject })
    // The options have been checked: links need this lookup.
    return userId === null ? undefined : lookUpUser(this.#settings.context.findUser!, userId)
  }

  /** Whether a user has a link at a provider. */
  async hasLinkAt(userId: string, provider: string): Promise<boolean> {
    const { links } = this.#settings
    if (links === undefined) return false
    return (await callPort(() => links.list(userId))).some((link) => link.provider === provider)
  }

  /** @throws PARAPET_SESSIONS_INVALID_ARGUMENT the option is not set. */
  requireLinks(): IdentityLinks {
    const { links } = this.#settings
    if (links !== undefined) return links
    throw new PARAPET_SESSIONS_INVALID_ARGUMENT('linking', 'the option "linking"', 'nothing')
  }

  async #remove(
    userId: string,
    id: string,
    reason: string,
    mayRemove: (left: readonly Identity[]) => boolean,
    change?: LinkChange,
  ): Promise<void> {
    const links = this.requireLinks()
    const identity = (await this.listIdentities(userId)).find((link) => link.id === id)
    if (identity === undefined) throw new PARAPET_SESSIONS_NOT_FOUND()
    const { provider, subject } = identity
    const result = await callPort(() => links.remove(userId, { provider, subject }, mayRemove))
    if (result === 'missing') throw new PARAPET_SESSIONS_NOT_FOUND()
    if (result === 'kept') throw new PARAPET_SESSIONS_LAST_LOGIN()
    await this.#reportRemoved(userId, identity, reason, change)
  }

  async #reportRemoved(
    userId: string,
    identity: Identity,
    reason: string,
    change?: LinkChange,
  ): Promise<void> {
    const { securityEvents, notify } = this.#settings
    const { provider, subject } = identity
    const fields = { ...fieldsOf(userId, identity, change), details: { provider, subject, reason } }
    securityEvents.emit('sessions.identity_unlinked', fields, change?.request)
    await this.#endSessionsOf(userId, identity, change)
    await notify(userId, 'identity_unlinked', noticeOf(identity, change))
  }

  /** The one who is out now may be who had made the link. */
  async #endSessionsOf(
    userId: string,
    { provider, subject }: Identity,
    change: LinkChange | undefined,
  ): Promise<void> {
    const { context, securityEvents } = this.#settings
    for (const sessionId of await sessionsOf(context, { provider, subject, sid: null })) {
      const record = await readRecord(context, sessionId)
      if (record?.user.id !== userId || sessionId === change?.sessionId) continue
      const ended = await endSession(context, sessionId)
      if (ended === null) continue
      emitEnded(securityEvents, ended, 'its identity was unlinked', change?.request)
    }
  }
}

/** The answer of a port that cannot be read must not count as a link. */
function requireAdded(result: AddedLink): AddedLink {
  if (['added', 'present', 'taken', 'full'].includes(result)) return result
  throw new TypeError('"linking.links.add" must return "added", "present", "taken" or "full"')
}

function noticeOf({ provider }: Identity, change: LinkChange | undefined): NoticeDetails {
  return { provider, ...(change === undefined ? undefined : sourceOf(change.request)) }
}

function fieldsOf(userId: string, identity: Identity, change: LinkChange | undefined) {
  return {
    principalId: userId,
    resourceType: 'identity',
    resourceId: idOfIdentity(identity),
    ...(change === undefined ? undefined : { sessionId: change.sessionId }),
  }
}
