/**
 * Keeps the pages of a browser signed in. For services with the option `cookies`, so that no script holds
 * a token.
 */
import { createAccountCalls, type AccountCalls } from './account-calls.ts'
import { createLiveSession, type Fetch } from './live-session.ts'
import { createOwnCalls, type OwnCalls, type Visit } from './own-calls.ts'
import { askPasskey, hasPasskeyAutofill, type PasskeyPrompt } from './passkey.ts'
import type { LoginCredentials, SecondStep, SecondStepProof, SignedIn } from './route-types.ts'
import { readReply, SessionError } from './session-error.ts'
import { createTabs, type SessionChange } from './tabs.ts'

export type { AccountCalls } from './account-calls.ts'
export type { Fetch } from './live-session.ts'
export type { OwnCalls } from './own-calls.ts'
export type { PasskeyPrompt } from './passkey.ts'
export type * from './route-types.ts'
export { SessionError } from './session-error.ts'
export type { SessionChange } from './tabs.ts'

/** For {@link createSessionClient}. */
export interface SessionClientOptions {
  /** Where the routes of sessions are: the plugin's `prefix`, or a URL. @default '/auth' */
  readonly baseUrl?: string
  /** Where the routes of mfa are, to log in with a passkey. @default '/mfa' */
  readonly mfaUrl?: string
  /** @default the `fetch` of the browser */
  readonly fetch?: Fetch
}

/** A page's access to its session. Every method rejects with {@link SessionError} when refused. */
export interface SessionClient extends OwnCalls, AccountCalls {
  /** Logs in with a password. If the account has a second factor, finish with `finishLogin`. */
  login(credentials: LoginCredentials): Promise<SignedIn | SecondStep>
  /**
   * Logs in by a link in a message. If the account has a second factor, finish with `finishLogin`.
   *
   * @param token what is behind `#token=` in the link.
   */
  finishMagicLink(token: string): Promise<SignedIn | SecondStep>
  /** Finishes a login with a code or a passkey. */
  finishLogin(proof: SecondStepProof): Promise<SignedIn>
  /** Finishes a login with a passkey that the browser asks for. */
  finishLoginWithPasskey(
    step: Pick<SecondStepProof, 'ticket' | 'rememberDevice'>,
    prompt?: PasskeyPrompt,
  ): Promise<SignedIn>
  /**
   * Logs in with a passkey alone. With `autofill` it waits until the user chooses one in the form: end
   * it by `signal` before another login.
   *
   * @returns `null` if the browser has no autofill of passkeys.
   */
  loginWithPasskey(prompt?: PasskeyPrompt): Promise<SignedIn | null>
  /**
   * `fetch` with the session: refreshes before the access token expires and after a 401, at most once
   * across all tabs, and repeats the request. A body that is a stream is never repeated.
   */
  readonly fetch: Fetch
  /** Gets new tokens now. `false`: the session has ended, and the listeners know. */
  refresh(): Promise<boolean>
  /** Ends the session. The page is signed out even if the service does not answer. */
  logout(): Promise<void>
  /**
   * Ends the session, and begins the logout of the identity provider from which it came.
   *
   * @param returnTo a path of the service. @default '/'
   * @returns the URL to open: at the provider, or `returnTo` where there is no logout at a provider.
   */
  logoutAtProvider(returnTo?: string): Promise<string>
  /** Ends all sessions of the user, on every device. */
  logoutEverywhere(): Promise<void>
  /** Calls the listener when this or another tab signs in or out. @returns how to remove it. */
  onChange(listener: (change: SessionChange) => void): () => void
}

interface Tokens {
  readonly expires_in: number
}
type Pending = Tokens & Pick<SecondStep, 'ticket' | 'methods'>

function secondStepOf({ ticket, methods, expires_in: expiresInSeconds }: Pending): SecondStep {
  return { state: 'second-factor', ticket, methods, expiresInSeconds }
}

/** Creates the client. One for each page is enough. */
export function createSessionClient({
  baseUrl = '/auth',
  mfaUrl = '/mfa',
  fetch: send = (input, init) => fetch(input, init),
}: SessionClientOptions = {}): SessionClient {
  const tabs = createTabs(baseUrl)
  const session = createLiveSession(baseUrl, tabs, send)
  const post = <T>(url: string, body?: object): Promise<T> =>
    readReply<T>(session.call(url, 'POST', body))
  const own = createOwnCalls(baseUrl, session)
  // Under the lock: an answer to a refresh that is under way must not sign in again.
  const end = <T>(path: string, body?: object): Promise<T> =>
    tabs
      .alone(() => post<T>(`${baseUrl}/${path}`, body))
      .finally(() => {
        session.signOut()
      })
  const signIn = ({ expires_in: expiresInSeconds }: Tokens): SignedIn => {
    session.signIn(expiresInSeconds)
    return { state: 'signed-in', expiresInSeconds }
  }
  const logIn = async (path: string, body: object): Promise<SignedIn | SecondStep> => {
    const reply = await post<Tokens | Pending>(`${baseUrl}/${path}`, body)
    return 'ticket' in reply ? secondStepOf(reply) : signIn(reply)
  }

  const client: SessionClient = {
    ...own,
    ...createAccountCalls(baseUrl, session),
    login: (credentials) => logIn('login', credentials),
    finishMagicLink: (token) => logIn('login/magic-link/finish', { token }),
    finishLogin: async (proof) =>
      signIn(await post<Tokens>(`${baseUrl}/login/second-factor`, proof)),
    async finishLoginWithPasskey(step, prompt) {
      const { ticket } = step
      const body = ticket === undefined ? undefined : { ticket }
      const url = `${baseUrl}/login/second-factor/options`
      const { passkey } = await post<{ readonly passkey?: object }>(url, body)
      if (passkey === undefined) {
        throw new SessionError(0, 'PASSKEY_MISSING', 'this account has no passkey')
      }
      return client.finishLogin({ ...step, passkey: await askPasskey(passkey, prompt) })
    },
    async loginWithPasskey(prompt) {
      if (prompt?.autofill === true && !(await hasPasskeyAutofill())) return null
      const url = `${mfaUrl}/passkeys/login`
      const response = await askPasskey(await post<object>(`${url}/options`), prompt)
      return signIn(await post<Tokens>(url, { response }))
    },
    fetch: session.fetch,
    refresh: () => session.refreshAfter(Date.now()),
    logout: () => end('logout'),
    logoutAtProvider: async (returnTo = '/') =>
      (await end<Visit>('logout/provider', { returnTo })).url,
    async logoutEverywhere() {
      await own.endOtherSessions()
      await client.logout()
    },
    onChange: (listener) => tabs.onChange(listener),
  }
  return client
}
