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
  const trusts = (origin: string): boolean =>
    trusted.has(origin) || (cors !== null && cors.varies && cors.allows(origin))
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
      },
      { scope: entryOf(request, parts).isolation, trusts },
    )
    return reason === null || isPublicRead(request, cors) ? null : reason
  }
}

function hasNoOrigin(method: string, headers: FastifyRequest['headers']): boolean {
  if ((method === 'GET' || method === 'HEAD') && headers.upgrade === undefined) return true
  return headers.origin === undefined && headers.referer === undefined
}

/** CORS with `*` lets every site read data, but not send anything else. */
function isPublicRead({ method, headers }: FastifyRequest, cors: CompiledCors | null): boolean {
  if (cors === null || cors.varies || headers['sec-fetch-mode'] !== 'cors') return false
  return method === 'GET' || method === 'HEAD'
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
