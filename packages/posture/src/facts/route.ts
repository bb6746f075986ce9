/** A route of the app, as the router has it. */

/** A hook or a handler of a route. */
export interface Piece {
  /** The stage: `onRequest`, `preHandler`, `handler`. */
  readonly stage: string
  readonly name: string
  /** Its source text; bound and native functions have none. */
  readonly text: string
  /** The function itself, to compare; never called. */
  readonly identity: unknown
}

/** The members of a schema that the checks read. */
export interface RouteSchema {
  readonly body?: unknown
  readonly querystring?: unknown
  readonly params?: unknown
  readonly headers?: unknown
  readonly response?: unknown
  readonly security?: unknown
  readonly tags?: unknown
  readonly operationId?: unknown
}

/** One route. */
export interface RouteFacts {
  readonly method: string
  readonly url: string
  /** `GET /users/:id` */
  readonly name: string
  /** GET, HEAD and OPTIONS change nothing, as RFC 9110 has it. */
  readonly isSafe: boolean
  /** Members of the query that were given with the path of a running app. */
  readonly query?: Readonly<Record<string, string>>
  readonly config: Readonly<Record<string, unknown>>
  readonly schema: RouteSchema
  readonly hooks: readonly Piece[]
  readonly handler: Piece | undefined
  readonly bodyLimit: number | undefined
}

const SAFE = new Set(['GET', 'HEAD', 'OPTIONS', 'TRACE'])

/** Whether a method is safe (RFC 9110, section 9.2.1). */
export function isSafeMethod(method: string): boolean {
  return SAFE.has(method)
}

/** Whether a schema says anything about this part of a request. */
export function hasSchema(part: unknown): part is Readonly<Record<string, unknown>> {
  return typeof part === 'object' && part !== null && Object.keys(part).length > 0
}

const SESSION =
  /(?:^|[/-])(?:log-?in|sign-?in|token|oauth2?|authenticate|sessions?|otp|mfa|2fa|totp|verify|forgot|reset|recover|password)(?:$|[/-])/i

/** Whether a route checks a credential, by its path: login, tokens, codes, password resets. */
export function checksCredential({ url, method, isSafe }: RouteFacts): boolean {
  return !isSafe && method !== 'DELETE' && SESSION.test(url)
}

const ADMIN =
  /(?:^|\/)(?:_?admin(?:istration|istrator)?s?|internal|debug|manage(?:ment)?|backoffice|superuser|actuator|metrics|audit)(?:$|\/|-)/i

/** Whether a route is administrative, by its path. */
export function isAdministrative({ url }: RouteFacts): boolean {
  return ADMIN.test(url)
}

/** The text of the hooks before the handler, and of the handler. */
export function textOf({ hooks, handler }: RouteFacts): string {
  return [...hooks.map(({ text }) => text), handler?.text ?? ''].join('\n')
}
