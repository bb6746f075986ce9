/** Fastify keeps some facts under private symbols; this is the one place that reads them. */

/**
 * The value under a private symbol of Fastify, on the instance or on a parent of its context.
 *
 * @param app a Fastify instance.
 * @param description of the symbol: `fastify.options`.
 * @returns `undefined` where no such symbol exists, as after a change inside Fastify: callers must
 *   have a safe answer for that.
 */
export function readFastifyInternal(app: object, description: string): unknown {
  for (let at: object | null = app; at !== null; at = Object.getPrototypeOf(at) as object | null) {
    const key = Object.getOwnPropertySymbols(at).find((each) => each.description === description)
    if (key !== undefined) return (at as Record<symbol, unknown>)[key]
  }
  return undefined
}
