/** Refuses requests from other sites, by fetch metadata or by `Origin` and `Referer`. */
import type { FastifyRequest } from 'fastify'
import type { CompiledCors } from '../cors/cors.ts'
import { decideIsolation, type IsolationReason } from '../isolation/fetch-metadata.ts'
import { entryOf, type Parts } from './request/parts.ts'

/** Creates the check of a request. @returns why it is refused; `null`: it is accepted. */
export function createIsolation(
  parts: Parts,
  trustedOrigins: readonly string[],
): (request: FastifyRequest) => IsolationReason | null {
  const { cors } = parts
  const trusted = new Set(trustedOrigins)
  const trusts = (origin: string): boolean => trusted.has(origin)
  return (request) => {
    const { method, headers } = request
    const site = headers['sec-fetch-site']
    // The fast path: most requests come from a page of this origin, or not from a browser.
    if (site === 'same-origin' || (site === undefined && hasNoOrigin(method, headers))) return null
    const reason = decideIsolation(
      {
        method,
        site: joined(site),
        mode: joined(headers['sec-fetch-mode']),
        dest: joined(headers['sec-fetch-dest']),
        origin: headers.origin,
        referer: headers.referer,
        upgrade: headers.upgrade !== undefined,
        host: request.host,
        secure: request.protocol === 'https',
      },
      { scope: entryOf(request, parts).isolation, trusts },
    )
    return reason === null || isCorsRequest(request, cors) ? null : reason
  }
}

function hasNoOrigin(method: string, headers: FastifyRequest['headers']): boolean {
  if ((method === 'GET' || method === 'HEAD') && headers.upgrade === undefined) return true
  return headers.origin === undefined && headers.referer === undefined
}

/**
 * CORS lets an origin read, and send what the option lists. It does not let it post forms, embed
 * responses or open WebSockets, nor use the cookies of the user without `credentials`.
 */
function isCorsRequest({ method, headers }: FastifyRequest, cors: CompiledCors | null): boolean {
  const { origin, cookie, upgrade } = headers
  if (cors === null || origin === undefined || upgrade !== undefined) return false
  // Browsers without fetch metadata do not say whether a form or a script sent the request.
  const mode = headers['sec-fetch-mode'] ?? 'cors'
  if (mode !== 'cors' || !cors.allows(origin)) return false
  return cors.sends(method) && (cookie === undefined || cors.credentials)
}

const TOKEN = /^[a-z-]{1,24}$/

/** The fetch metadata of a request for an event. Untrusted values are replaced by `other`. */
export function describeOrigin({ method, headers }: FastifyRequest) {
  const tokenOf = (name: string) => {
    const value = joined(headers[name])
    return value === undefined ? '' : TOKEN.test(value) ? value : 'other'
  }
  return {
    method,
    site: tokenOf('sec-fetch-site'),
    mode: tokenOf('sec-fetch-mode'),
    dest: tokenOf('sec-fetch-dest'),
  }
}

/** A repeated header must not match a valid value: browsers send each of these headers once. */
function joined(value: string | readonly string[] | undefined): string | undefined {
  return typeof value === 'string' ? value : value?.join(', ')
}
