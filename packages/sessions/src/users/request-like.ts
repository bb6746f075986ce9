/** The request that causes something, for the parts that do not know Fastify. */
import type { SecurityEvents } from '@parapet/kit'

/** The request that caused an operation. It fills in the device of a session and the source of events. */
export type RequestLike = NonNullable<Parameters<SecurityEvents['emit']>[2]>

/** Where a change came from, for a notice. */
export function sourceOf({ ip, headers }: RequestLike): Readonly<Record<string, string>> {
  const agent = headers['user-agent']
  return { ip, ...(agent === undefined ? undefined : { userAgent: agent.slice(0, 200) }) }
}
