/** The calls of a user who is signed in, about the own sessions and identities. */
import type { LiveSession } from './live-session.ts'
import type { OwnIdentity, OwnSession } from './route-types.ts'
import { readReply } from './session-error.ts'

/** See {@link createOwnCalls}. */
export interface OwnCalls {
  /** The sessions of the user, the most recently used first. */
  listSessions(): Promise<readonly OwnSession[]>
  /** Ends one session of the user. */
  endSession(id: string): Promise<void>
  /** Ends all other sessions of the user. */
  endOtherSessions(): Promise<void>
  /** Names the device of one session of the user. */
  nameDevice(id: string, name: string): Promise<void>
  /**
   * Begins to authenticate again at a provider, where a request got 401 with a challenge of RFC 9470.
   *
   * @param returnTo a path of the service. @default '/'
   * @returns the URL to open.
   */
  stepUp(provider: string, returnTo?: string): Promise<string>
  /** The identities with which the user can log in. */
  listIdentities(): Promise<readonly OwnIdentity[]>
  /**
   * Begins to link an identity at a provider, after a fresh login.
   *
   * @param returnTo a path of the service. @default '/'
   * @returns the URL to open.
   */
  linkIdentity(provider: string, returnTo?: string): Promise<string>
  /** Removes a link, after a fresh login. The last way to log in is kept. */
  unlinkIdentity(id: string): Promise<void>
}

/** A place to which the page goes. */
export interface Visit {
  readonly url: string
}

const sessionOf = (id: string): string => `sessions/${encodeURIComponent(id)}`
const identityOf = (id: string): string => `identities/${encodeURIComponent(id)}`

/** Creates the calls. */
export function createOwnCalls(baseUrl: string, session: LiveSession): OwnCalls {
  const own = <T>(path: string, method: string, body?: object): Promise<T> =>
    readReply<T>(session.send(`${baseUrl}/${path}`, method, body))
  const visit = async (path: string, returnTo = '/'): Promise<string> =>
    (await own<Visit>(path, 'POST', { returnTo })).url

  return {
    listSessions: async () =>
      (await own<{ readonly sessions: readonly OwnSession[] }>('sessions', 'GET')).sessions,
    endSession: (id) => own(sessionOf(id), 'DELETE'),
    endOtherSessions: () => own('sessions', 'DELETE'),
    nameDevice: (id, name) => own(sessionOf(id), 'PATCH', { name }),
    stepUp: (provider, returnTo) => visit(`oidc/${encodeURIComponent(provider)}/step-up`, returnTo),
    listIdentities: async () =>
      (await own<{ readonly identities: readonly OwnIdentity[] }>('identities', 'GET')).identities,
    linkIdentity: (provider, returnTo) => visit(identityOf(provider), returnTo),
    unlinkIdentity: (id) => own(identityOf(id), 'DELETE'),
  }
}
