/** Recognizes logins that do not set `request.principal`, so that their responses are not shared. */
import type { FastifyRequest } from 'fastify'
import { looksLikeSession } from '../../headers/set-cookie.ts'

/**
 * Whether the request has credentials, or a user of @fastify/jwt or passport. Used only where no
 * login sets `request.principal`. @see RFC 9111, section 3.5
 */
export function showsLogin(request: FastifyRequest): boolean {
  const { authorization, cookie } = request.headers
  if (authorization !== undefined) return true
  if ((request as { readonly user?: unknown }).user) return true
  return cookie !== undefined && cookie.split(';').some((pair) => hasSessionName(pair))
}

function hasSessionName(pair: string): boolean {
  return looksLikeSession(pair.split('=', 1)[0]!)
}
