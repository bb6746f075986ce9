/** A request that was sent, and the response to it, as the checks see them. */

/** What a request tries. */
export type ProbeKind =
  /** As an anonymous client would send it. */
  | 'plain'
  | 'head'
  /** From an origin that nobody has allowed, from "null", and its preflight. */
  | 'origin'
  | 'null-origin'
  | 'preflight'
  /** Markup and a quotation mark in every parameter; a path out of the folder; an address elsewhere. */
  | 'markup'
  | 'quote'
  | 'traversal'
  | 'redirect'
  /** Tokens that nobody has issued. */
  | 'unsigned-token'
  | 'guessed-token'
  /** Another spelling of a guarded path. */
  | 'spelling'
  /** A route that does not exist; an address that no router can read; files that must not be served. */
  | 'unknown'
  | 'malformed'
  | 'file'
  | 'page'
  | 'trace'
  /** As a principal of a role. */
  | 'role'
  /** State-changing requests, only with `active`. */
  | 'active'
  | 'active-broken'
  | 'active-cross-site'

/** A request to send. */
export interface ProbeRequest {
  readonly method: string
  readonly url: string
  readonly headers: Readonly<Record<string, string>>
  readonly body?: string
}

/** What came back. Names of headers are in lower case. */
export interface Reply {
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  /** Each `Set-Cookie` on its own. */
  readonly cookies: readonly string[]
  /** The first bytes of the body as text. */
  readonly body: string
}

/** One request and its response. */
export interface Exchange {
  readonly kind: ProbeKind
  /** The name of the route, as `GET /users/:id`; of a request without a route, its method and path. */
  readonly route: string
  readonly request: ProbeRequest
  /** `undefined`: no response within the deadline. */
  readonly reply: Reply | undefined
  /** The role, or the name of what was tried. */
  readonly note?: string
}

/** Sends a request. Never rejects: `undefined` is no response within the deadline, or a broken one. */
export type Send = (request: ProbeRequest) => Promise<Reply | undefined>

/** The value of a header; an empty text where it is absent. */
export function headerOf(reply: Reply, name: string): string {
  return reply.headers[name] ?? ''
}

/** Whether the media type of a response is HTML. */
export function isHtml(reply: Reply): boolean {
  return /^(?:text\/html|application\/xhtml\+xml)\b/i.test(headerOf(reply, 'content-type'))
}

/** Whether a response reports success. */
export function isSuccess({ status }: Reply): boolean {
  return status >= 200 && status < 300
}

/** Whether a response asks for a login: 401, 403, 407, 423, 428 or a redirect to a login page. */
export function isRefusal(reply: Reply): boolean {
  if ([401, 403, 407, 423, 428].includes(reply.status)) return true
  const isRedirect = reply.status >= 300 && reply.status < 400
  return isRedirect && /log-?in|sign-?in|auth|sso|session/i.test(headerOf(reply, 'location'))
}
