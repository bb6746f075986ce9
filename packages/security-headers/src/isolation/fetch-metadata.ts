/**
 * Decides whether a request from another site is accepted: by fetch metadata, or by `Origin` and
 * `Referer` for browsers that send no fetch metadata.
 * @see W3C Fetch Metadata; OWASP CSRF Prevention Cheat Sheet
 */
import { checkOrigin } from './origin-check.ts'

/** Which sites may send requests to a route. */
export type IsolationScope = 'same-origin' | 'same-site' | 'cross-site'

/** Why a request was refused. */
export type IsolationReason = 'cross-site' | 'same-site' | 'origin-mismatch' | 'referer-mismatch'

/** The parts of a request that show where it comes from. Pages cannot forge these headers. */
export interface RequestOrigin {
  readonly method: string
  /** `Sec-Fetch-Site` */
  readonly site: string | undefined
  /** `Sec-Fetch-Mode` */
  readonly mode: string | undefined
  /** `Sec-Fetch-Dest` */
  readonly dest: string | undefined
  readonly origin: string | undefined
  readonly referer: string | undefined
  /** Whether the request opens a WebSocket, which pages of any origin could read and write. */
  readonly upgrade: boolean
  /** `Host`, as Fastify's `trustProxy` has it. */
  readonly host: string | undefined
  /** Whether the request is known to have come over https. */
  readonly secure: boolean
}

/** The settings that apply to a request. */
export interface IsolationSettings {
  readonly scope: IsolationScope
  /** Whether another origin is trusted. */
  readonly trusts: (origin: string) => boolean
}

const SAFE_METHODS = new Set(['GET', 'HEAD', 'OPTIONS'])

/**
 * Decides on one request.
 *
 * @returns `null` if it is accepted: it comes from this origin, from the user (address bar,
 *   bookmark), from a client that is not a browser, from a trusted origin, or by a followed link.
 *   Otherwise the reason why it is refused.
 */
export function decideIsolation(
  request: RequestOrigin,
  { scope, trusts }: IsolationSettings,
): IsolationReason | null {
  const { method, site, mode, dest, origin } = request
  if (site === 'same-origin' || site === 'none' || scope === 'cross-site') return null
  if (site === 'same-site' && scope === 'same-site') return null
  if (origin !== undefined && origin !== 'null' && trusts(origin) && mode !== 'no-cors') return null
  if (site !== undefined) {
    // A link may lead here; a form that posts, a frame, an image or a script may not.
    const isFollowedLink =
      mode === 'navigate' && dest === 'document' && (method === 'GET' || method === 'HEAD')
    if (isFollowedLink) return null
    return site === 'same-site' ? 'same-site' : 'cross-site'
  }
  return SAFE_METHODS.has(method) && !request.upgrade ? null : checkOrigin(request)
}
