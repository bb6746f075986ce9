/** The parts of a request and a reply that callbacks of a tier may read. Fastify's own fit. */

/** A request, as a callback sees it. What is not parsed yet is `undefined`. */
export interface RequestLike {
  readonly ip: string
  readonly method: string
  readonly headers: Readonly<Record<string, string | string[] | undefined>>
  readonly query: unknown
  readonly params: unknown
  readonly body: unknown
}

/** A reply whose status is known. */
export interface ReplyLike {
  readonly statusCode: number
}
