/** What users do at providers while they are logged in: link an identity, remove a link, step up. */
import type { SecurityEvents } from '@parapet/kit'
import {
  PARAPET_SESSIONS_NOT_FOUND,
  PARAPET_SESSIONS_SSO_REFUSED,
  PARAPET_SESSIONS_UNAUTHENTICATED,
} from '../errors.ts'
import type { ShownIdentity } from '../oidc/id-token.ts'
import type { SingleSignOn, StartedLogin } from '../oidc/single-sign-on.ts'
import type { SecondFactor } from '../second-factor/second-factor.ts'
import type { SessionContext } from '../session/context.ts'
import { elevateSession } from '../session/elevate-session.ts'
import type { SessionGrant } from '../session/grant.ts'
import type { SessionRecord } from '../session/record.ts'
import type { AccessToken } from '../tokens/access-token.ts'
import type { RequestLike } from '../users/request-like.ts'
import { requireFreshLogin } from './fresh-login.ts'
import type { LinkedIdentities } from './linked-identities.ts'
import { readLiveRecord } from './live-record.ts'

/** What {@link OwnIdentities} needs. */
export interface OwnIdentitySettings {
  readonly context: SessionContext
  readonly singleSignOn: Pick<SingleSignOn, 'start' | 'requireProvider'>
  readonly identities: LinkedIdentities
  readonly secondFactor: SecondFactor | undefined
  readonly securityEvents: SecurityEvents
}

/** The steps behind the routes for identities. */
export class OwnIdentities {
  readonly #settings: OwnIdentitySettings

  constructor(settings: OwnIdentitySettings) {
    this.#settings = settings
  }

  /**
   * Sends a user with a fresh login to a provider, to show the identity.
   *
   * @throws PARAPET_SESSIONS_NOT_FOUND, PARAPET_SESSIONS_FRESH_FACTOR_REQUIRED, PARAPET_SESSIONS_TOO_MANY_LINKS,
   *   PARAPET_SESSIONS_UNAVAILABLE
   */
  async startLink(
    token: AccessToken,
    provider: string,
    returnTo: string,
    request: RequestLike,
  ): Promise<StartedLogin> {
    const { singleSignOn, identities } = this.#settings
    singleSignOn.requireProvider(provider)
    await this.#requireFresh(token, request)
    await identities.requireRoom(token.user.id)
    const { sessionId } = token
    return singleSignOn.start(provider, { returnTo, purpose: 'link', sessionId })
  }

  /**
   * Sends a user to a provider at which the user has an identity, to authenticate again.
   *
   * @throws PARAPET_SESSIONS_NOT_FOUND, PARAPET_SESSIONS_UNAUTHENTICATED, PARAPET_SESSIONS_UNAVAILABLE
   */
  async startStepUp(token: AccessToken, provider: string, returnTo: string): Promise<StartedLogin> {
    const { context, singleSignOn, identities } = this.#settings
    singleSignOn.requireProvider(provider)
    const { sessionId, user } = token
    const record = await readLiveRecord(context, sessionId)
    if (record === null) throw new PARAPET_SESSIONS_UNAUTHENTICATED()
    const isOrigin = record.origin?.provider === provider
    if (!isOrigin && !(await identities.hasLinkAt(user.id, provider))) {
      throw new PARAPET_SESSIONS_NOT_FOUND()
    }
    return singleSignOn.start(provider, { returnTo, purpose: 'step-up', sessionId })
  }

  /** @throws PARAPET_SESSIONS_NOT_FOUND, PARAPET_SESSIONS_FRESH_FACTOR_REQUIRED, PARAPET_SESSIONS_LAST_LOGIN */
  async unlink(token: AccessToken, id: string, request: RequestLike): Promise<void> {
    await this.#requireFresh(token, request)
    const { sessionId, user } = token
    await this.#settings.identities.removeOwn(user.id, id, { sessionId, request })
  }

  /**
   * Finishes a link or a step-up, for the session that started it.
   *
   * @param browserSessionId the session of the browser, where it sends the cookie.
   * @returns the new tokens of the session; `null` after a link, which leaves them as they are.
   * @throws PARAPET_SESSIONS_SSO_REFUSED, PARAPET_SESSIONS_IDENTITY_TAKEN, PARAPET_SESSIONS_TOO_MANY_LINKS,
   *   PARAPET_SESSIONS_UNAVAILABLE
   */
  async finish(
    shown: ShownIdentity,
    browserSessionId: string | null,
    request: RequestLike,
  ): Promise<SessionGrant | null> {
    const { context, identities } = this.#settings
    const { sessionId, purpose, origin } = shown
    // Another user may have logged in to this browser meanwhile.
    const isOwn = browserSessionId === null || browserSessionId === sessionId
    const record = isOwn ? await readLiveRecord(context, sessionId) : null
    if (record === null) throw new PARAPET_SESSIONS_SSO_REFUSED()
    if (purpose === 'step-up') return this.#stepUp(record, shown, request)
    await identities.add(record.user.id, origin, { sessionId, request })
    return null
  }

  /** The level is raised by what the signed ID token says, and only as `trustedMethods` maps it. */
  async #stepUp(
    record: SessionRecord,
    { sessionId, origin, methods, acr, authenticatedAt }: ShownIdentity,
    request: RequestLike,
  ): Promise<SessionGrant> {
    const { context, securityEvents } = this.#settings
    const { proof: before, origin: former } = record
    if (!(await this.#isIdentityOf(record, origin))) throw new PARAPET_SESSIONS_SSO_REFUSED()
    const raised = {
      amr: methods.length > 0 ? methods : before.amr,
      ...(acr === undefined ? undefined : { acr }),
      authenticatedAt: Math.max(before.authenticatedAt, authenticatedAt),
    }
    // A logout at the provider ends the session if its login was there.
    const next = former?.provider === origin.provider ? origin : undefined
    const grant = await elevateSession(context, sessionId, raised, next)
    if (grant === null) throw new PARAPET_SESSIONS_SSO_REFUSED()
    const method = [`oidc:${origin.provider}`, ...methods].join(' ')
    const fields = { principalId: grant.userId, sessionId: grant.sessionId }
    const details = { method, previousSessionId: sessionId }
    securityEvents.emit('sessions.elevated', { ...fields, details }, request)
    return grant
  }

  /** Whether an identity is linked to the user of a session or, without any link, started the session. */
  async #isIdentityOf(
    { origin, user }: SessionRecord,
    shown: ShownIdentity['origin'],
  ): Promise<boolean> {
    const owner = await this.#settings.identities.ownerOf(shown)
    if (owner !== null) return owner === user.id
    return origin?.provider === shown.provider && origin.subject === shown.subject
  }

  async #requireFresh(token: AccessToken, request: RequestLike): Promise<void> {
    const { secondFactor, context } = this.#settings
    await requireFreshLogin({ secondFactor, now: context.now }, token, request)
  }
}
