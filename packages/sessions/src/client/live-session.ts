/** The session of a page: signs in and out, refreshes once across tabs, and repeats late requests. */
import { errorOf, SessionError } from './session-error.ts'
import type { Tabs } from './tabs.ts'

/** The `fetch` of the browser, or one that stands for it. */
export type Fetch = (input: string | URL | Request, init?: RequestInit) => Promise<Response>

/** A refresh this long before the expiry, so that a request does not arrive too late. */
const EARLY_MS = 5000
/** A refresh that gets no answer must not hold its lock, and with it all tabs, for ever. */
const CALL_MS = 15_000

/** Refreshes and repeats. */
export interface LiveSession {
  /** Sends JSON with the cookies, without a refresh, for at most 15 seconds. */
  call(url: string, method: string, body?: object): Promise<Response>
  /** Sends JSON with the session: as `fetch` does. */
  send(url: string, method: string, body?: object): Promise<Response>
  /** Keeps for how long the new tokens are valid, and tells the tabs. */
  signIn(expiresInSeconds: number): void
  signOut(): void
  /** @param since no refresh if a tab got tokens later. @returns whether the session goes on. */
  refreshAfter(since: number): Promise<boolean>
  /** `fetch` with the session. */
  fetch: Fetch
}

/** A request with JSON, or without a body. */
function initOf(method: string, body?: object): RequestInit {
  const headers = { 'content-type': 'application/json' }
  return body === undefined ? { method } : { method, body: JSON.stringify(body), headers }
}

/** Creates the session of a page. @param send sends each request. */
export function createLiveSession(baseUrl: string, tabs: Tabs, send: Fetch): LiveSession {
  const session: LiveSession = {
    call(url, method, body) {
      const limit = new AbortController()
      const late = new SessionError(0, 'TIMEOUT', 'the service did not answer')
      // Not cleared with the response, whose body may be late as well.
      setTimeout(() => limit.abort(late), CALL_MS)
      return send(url, { ...initOf(method, body), credentials: 'include', signal: limit.signal })
    },
    send: (url, method, body) => session.fetch(url, initOf(method, body)),
    signIn(expiresInSeconds) {
      tabs.keep(expiresInSeconds)
      tabs.tell('signed-in')
    },
    signOut() {
      tabs.keep(null)
      tabs.tell('signed-out')
    },
    refreshAfter: (since) =>
      tabs.alone(async () => {
        const latest = await tabs.latestChange()
        // A change of the future is one before the clock was set back.
        if (latest > since && latest <= Date.now()) return !tabs.isSignedOut()
        const response = await session.call(`${baseUrl}/refresh`, 'POST')
        if (response.ok) {
          tabs.keep(((await response.json()) as { readonly expires_in: number }).expires_in)
          if (tabs.isSignedOut()) tabs.tell('signed-in')
          return true
        }
        // Any other refusal, such as 429 or 503, says nothing about the session.
        if (response.status !== 401) throw await errorOf(response)
        session.signOut()
        return false
      }),
    async fetch(input, init) {
      const started = Date.now()
      const expiresAt = tabs.expiresAt()
      if (expiresAt > 0 && started > expiresAt - EARLY_MS) {
        await session.refreshAfter(tabs.changedAt())
      }
      // A copy for the second attempt, because a body can be read once.
      const again = input instanceof Request ? input.clone() : input
      const sent = { credentials: 'include', ...init } as const
      const first = await send(input, sent)
      if (first.status !== 401 || init?.body instanceof ReadableStream) return first
      // The token is valid, but the user must show more (RFC 9470): new tokens would change nothing.
      const challenge = first.headers.get('www-authenticate') ?? ''
      if (challenge.includes('insufficient_user_authentication')) return first
      if (tabs.isSignedOut() || !(await session.refreshAfter(started))) return first
      return send(again, sent)
    },
  }
  return session
}
