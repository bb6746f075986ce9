/**
 * Which requests of other sites come in: fetch metadata first, `Origin` and `Referer` for browsers
 * that do not send it. @see W3C Fetch Metadata; OWASP CSRF Prevention Cheat Sheet
 */

/** Who a route is open to. */
export type IsolationScope = 'same-origin' | 'same-site' | 'cross-site'

/** Why a request was refused. */
export type IsolationReason = 'cross-site' | 'same-site' | 'origin-mismatch' | 'referer-mismatch'

/** What a request says of where it comes from. The headers are a browser's word, not a client's. */
export interface IsolationQuestion {
  readonly method: string
  readonly site: string | undefined
  readonly mode: string | undefined
  readonly dest: string | undefined
  readonly origin: string | undefined
  readonly referer: string | undefined
  /** Whether a socket is asked for, which a page of any origin could then read and write. */
  readonly upgrade: boolean
  /** `Host`, as the client sent it. */
  readonly host: string | undefined
}

/** What stays the same for every request. */
export interface IsolationRule {
  readonly scope: IsolationScope
  /** Other origins whose requests are this app's own business, such as those that CORS lets read. */
  readonly trusts: (origin: string) => boolean
}

const SAFE = new Set(['GET', 'HEAD', 'OPTIONS'])

/**
 * Decides on one request.
 *
 * @returns why it is refused, or `null`: it comes from here, from a person (address bar, bookmark),
 *   from no browser at all, from a trusted origin, or it is a link that someone followed.
 */
export function decideIsolation(
  question: IsolationQuestion,
  { scope, trusts }: IsolationRule,
): IsolationReason | null {
  const { method, site, mode, dest, origin } = question
  if (site === 'same-origin' || site === 'none' || scope === 'cross-site') return null
  if (site === 'same-site' && scope === 'same-site') return null
  if (origin !== undefined && origin !== 'null' && trusts(origin) && mode !== 'no-cors') return null
  if (site !== undefined) {
    // A link may lead here; a form that posts, a frame, an image or a script may not.
    const followed = mode === 'navigate' && dest === 'document' && isRead(method)
    return followed ? null : site === 'same-site' ? 'same-site' : 'cross-site'
  }
  return SAFE.has(method) && !question.upgrade ? null : decideByOrigin(question)
}

function isRead(method: string): boolean {
  return method === 'GET' || method === 'HEAD'
}

/** For browsers without fetch metadata. Who sends neither header is no browser. */
function decideByOrigin({ origin, referer, host }: IsolationQuestion): IsolationReason | null {
  if (origin !== undefined) return isOf(origin, host) ? null : 'origin-mismatch'
  if (referer !== undefined) return isOf(referer, host) ? null : 'referer-mismatch'
  return null
}

/** Whether a URL is of this host; nonsense is of none, nor is anything of an empty `Host`. */
function isOf(url: string, host: string | undefined): boolean {
  return host !== '' && URL.canParse(url) && new URL(url).host === host
}
