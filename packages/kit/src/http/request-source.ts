/** Who sent a request, and from where: the same members in every event and record. */
import type { Socket } from 'node:net'
import type { FastifyRequest } from 'fastify'
import type { Principal } from './principal.ts'

/** What is recorded of a request; absent members are left out. */
export interface RequestSource {
  /** The client address, as Fastify's `trustProxy` resolves it. */
  readonly ip: string
  readonly requestId: string
  /** Method of the request and pattern of its route: `GET /users/:id`. Never the URL, which may carry secrets. */
  readonly route?: string
  /** At most 512 characters. */
  readonly userAgent?: string
  readonly principalId?: string
  readonly sessionId?: string
  /** The operator who acts as the principal. */
  readonly actorId?: string
}

const MAX_USER_AGENT = 512

/**
 * Keeps the client address of a request for later: Node.js reads it from the open connection, and forgets
 * it with the connection unless it was read before. A plugin that stores events calls it in `onRequest`,
 * or a client that hangs up early leaves records without an address.
 */
export function keepAddress({ raw }: FastifyRequest): void {
  // An upgrade that a test injects has no socket.
  const { socket } = raw as { readonly socket?: Socket }
  void socket?.remoteAddress
}

/**
 * Describes the sender of a request.
 *
 * @param principal the authenticated caller. @default request.principal
 */
export function requestSource(
  request: FastifyRequest,
  // Absent where no plugin has added the decorator.
  principal: Principal | null | undefined = request.principal,
): RequestSource {
  // A request that matches no route has no pattern.
  const { url } = request.routeOptions
  const userAgent = request.headers['user-agent']
  return {
    ip: request.ip,
    requestId: request.id,
    ...(url === undefined ? undefined : { route: `${request.method} ${url}` }),
    ...(userAgent === undefined ? undefined : { userAgent: userAgent.slice(0, MAX_USER_AGENT) }),
    ...(principal ? { principalId: principal.id } : undefined),
    ...(principal?.sessionId === undefined ? undefined : { sessionId: principal.sessionId }),
    ...(principal?.actorId === undefined ? undefined : { actorId: principal.actorId }),
  }
}
