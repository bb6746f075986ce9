/** Reads and sets the headers of a response: those of the reply, or of a hijacked raw response. */
import type { FastifyReply } from 'fastify'

/** The headers of one kind of response. Names are in lower case. */
export interface HeaderAccess {
  readonly names: (reply: FastifyReply) => readonly string[]
  readonly get: (reply: FastifyReply, name: string) => unknown
  readonly set: (reply: FastifyReply, name: string, value: string) => void
  readonly remove: (reply: FastifyReply, name: string) => void
}

/** The headers that Fastify sends. @param set sets a header without checks. */
export function createReplyAccess(set: HeaderAccess['set']): HeaderAccess {
  return {
    names: (reply) => Object.keys(reply.getHeaders()),
    get: (reply, name) => reply.getHeader(name),
    set,
    remove: (reply, name) => void reply.removeHeader(name),
  }
}

/** The headers that the handler of a hijacked reply sends. */
export const rawAccess: HeaderAccess = {
  names: ({ raw }) => raw.getHeaderNames(),
  get: ({ raw }, name) => raw.getHeader(name),
  set: ({ raw }, name, value) => void raw.setHeader(name, value),
  remove: ({ raw }, name) => raw.removeHeader(name),
}
