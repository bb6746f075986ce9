/** `fetch` for URLs that a user has chosen: it reaches public hosts only, whatever the URL and its redirects say. */
import type { Socket } from 'node:net'
import {
  PARAPET_INPUT_GUARD_FETCH_FAILED,
  PARAPET_INPUT_GUARD_MISSING_LIBRARY,
  PARAPET_INPUT_GUARD_URL_FORBIDDEN,
} from '../errors.ts'
import { findForbidden, hostOf, type ForbiddenReason, type HostRules } from './host-rules.ts'
import { limitBody } from './limit-body.ts'
import { createPinnedConnect } from './pinned-connect.ts'
import type { FetchPorts } from './ports.ts'
import { loadUndici } from './load-undici.ts'
import { redirectRequest, redirectTarget, type PreparedRequest } from './redirects.ts'

/** What {@link SafeFetch} sends. */
export interface SafeFetchInit {
  /** @default 'GET' */
  readonly method?: string
  readonly headers?: Readonly<Record<string, string>> | Headers
  /** A text or bytes; a stream could not be sent again after a redirect. */
  readonly body?: string | Uint8Array | null
  readonly signal?: AbortSignal
}

/**
 * Requests a URL.
 *
 * @throws PARAPET_INPUT_GUARD_URL_FORBIDDEN the URL, one of its redirects or an address is not allowed.
 * @throws PARAPET_INPUT_GUARD_FETCH_FAILED the host failed, or a limit was reached; reading the body, too.
 * @throws the reason of `signal`, if the caller aborts.
 */
export type SafeFetch = (url: string | URL, init?: SafeFetchInit) => Promise<Response>

/** What {@link createSafeFetcher} takes. */
export interface SafeFetchSettings extends HostRules {
  readonly maxRedirects: number
  readonly maxBytes: number
  readonly timeoutMs: number
  readonly lookup: FetchPorts['lookup']
  readonly connect: FetchPorts['connect']
}

const REASONS: Readonly<Record<ForbiddenReason, string>> = {
  scheme: 'its scheme',
  credentials: 'it contains a user name or password',
  port: 'its port',
  host: 'its host',
  address: 'its address',
}

const RESENT_BODY = 'a redirect would send its body to another origin'

/** The connector that undici calls for each connection. */
type Connector = (
  origin: { readonly hostname: string; readonly port: string; readonly protocol: string },
  done: (error: Error | null, socket: Socket | null) => void,
) => void

/** Creates a {@link SafeFetch}. @param refused receives each host that was refused */
export function createSafeFetcher(
  settings: SafeFetchSettings,
  refused: (reason: string, host: string) => void = () => {},
): SafeFetch {
  const { lookup, connect, maxBytes, timeoutMs } = settings
  const ports = { ...(lookup && { lookup }), ...(connect && { connect }) }
  const pinned = createPinnedConnect(ports, timeoutMs)
  const connectorOf =
    (signal: AbortSignal): Connector =>
    ({ hostname, port, protocol }, done) => {
      const isTls = protocol === 'https:'
      const host = hostname.replace(/^\[(.*)\]$/, '$1').replace(/\.$/, '')
      const number = port === '' ? (isTls ? 443 : 80) : Number(port)
      void settle(pinned({ host, port: number, isTls, signal }), done)
    }
  return async (url, init = {}) => {
    const { Agent, fetch } = await loadUndici()
    const timeout = AbortSignal.timeout(timeoutMs)
    const signal = init.signal === undefined ? timeout : AbortSignal.any([init.signal, timeout])
    // One agent for each request: a connection is never used again for a name that resolves anew.
    const agent = new Agent({ connect: connectorOf(signal), pipelining: 0, maxHeaderSize: 16_384 })
    const close = () => void agent.destroy().catch(() => {})
    // A body that nobody reads must not keep its connection.
    timeout.addEventListener('abort', close, { once: true })
    const send = (target: URL, request: PreparedRequest) =>
      fetch(target.href, { ...request, dispatcher: agent, redirect: 'manual', signal })
    const errorOf = (error: unknown): unknown =>
      init.signal?.aborted === true ? init.signal.reason : toKnown(error, timeout.aborted)
    const hops: Hop[] = []
    try {
      const response = await follow(url, init, settings, send, hops)
      return wrap(response, hops, { maxBytes, close, errorOf })
    } catch (error) {
      close()
      const known = errorOf(error)
      if (known instanceof PARAPET_INPUT_GUARD_URL_FORBIDDEN) {
        const last = hops.at(-1)
        refused(known.message, last === undefined ? '' : hostOf(last.target))
      }
      throw known
    }
  }
}

/** One request of a chain of redirects. */
interface Hop {
  readonly target: URL
  readonly method: string
}

async function settle(opening: Promise<Socket>, done: Parameters<Connector>[1]): Promise<void> {
  let socket: Socket
  try {
    socket = await opening
  } catch (error) {
    done(error as Error, null)
    return
  }
  done(null, socket)
}

async function follow(
  url: string | URL,
  { method = 'GET', headers, body = null }: SafeFetchInit,
  settings: SafeFetchSettings,
  send: (target: URL, request: PreparedRequest) => Promise<Response>,
  hops: Hop[],
): Promise<Response> {
  if (!URL.canParse(String(url))) throw new PARAPET_INPUT_GUARD_URL_FORBIDDEN('it is no URL')
  let target = new URL(String(url))
  let request: PreparedRequest = {
    method: method.toUpperCase(),
    headers: new Headers(headers),
    body,
  }
  for (let redirects = 0; ; redirects++) {
    hops.push({ target, method: request.method })
    const forbidden = findForbidden(target, settings)
    if (forbidden !== undefined) throw new PARAPET_INPUT_GUARD_URL_FORBIDDEN(REASONS[forbidden])
    const response = await send(target, request)
    const { status } = response
    const next = redirectTarget(status, response.headers.get('location'), target)
    if (next === undefined) return response
    await response.body?.cancel()
    if (redirects >= settings.maxRedirects) {
      throw new PARAPET_INPUT_GUARD_FETCH_FAILED('too many redirects')
    }
    // A redirect must not take a request that was encrypted onto a network in clear text.
    if (target.protocol === 'https:' && next.protocol === 'http:') {
      throw new PARAPET_INPUT_GUARD_URL_FORBIDDEN(REASONS.scheme)
    }
    const changed = redirectRequest(request, status, next.origin !== target.origin)
    if (changed === undefined) throw new PARAPET_INPUT_GUARD_URL_FORBIDDEN(RESENT_BODY)
    request = changed
    target = next
  }
}

/** A response whose body is limited, and which closes its connection at the end. */
function wrap(
  response: Response,
  hops: readonly Hop[],
  rules: {
    readonly maxBytes: number
    readonly close: () => void
    readonly errorOf: (error: unknown) => unknown
  },
): Response {
  const { body, status, statusText, headers } = response
  const { maxBytes, close, errorOf } = rules
  const { target, method } = hops.at(-1)!
  const length = Number(headers.get('content-length') ?? 0)
  // The response to HEAD has the length of a body that is not sent.
  if (method !== 'HEAD' && length > maxBytes) {
    throw new PARAPET_INPUT_GUARD_FETCH_FAILED('the response is too large')
  }
  if (body === null) close()
  const limited = body && limitBody(body, maxBytes, close, errorOf)
  const wrapped = new Response(limited, { status, statusText, headers: [...headers.entries()] })
  // A constructed response has no URL.
  return Object.defineProperties(wrapped, {
    url: { value: target.href },
    redirected: { value: hops.length > 1 },
  })
}

/** Errors of undici carry the reason in `cause`, and the message of a system error names addresses. */
function toKnown(error: unknown, isLate: boolean): Error {
  for (let at = error, depth = 0; at instanceof Error && depth < 4; at = at.cause, depth++) {
    if (at instanceof PARAPET_INPUT_GUARD_URL_FORBIDDEN) return at
    if (at instanceof PARAPET_INPUT_GUARD_FETCH_FAILED) return at
    if (at instanceof PARAPET_INPUT_GUARD_MISSING_LIBRARY) return at
  }
  const problem = isLate ? 'the host did not answer in time' : 'the host did not answer'
  return Object.assign(new PARAPET_INPUT_GUARD_FETCH_FAILED(problem), { cause: error })
}
