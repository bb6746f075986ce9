/** The request that causes something, for the parts that do not know Fastify. */
import type { SecurityEvents } from '@parapet/kit'

/** The request that caused an operation. It fills in the device of a session and the source of events. */
export type RequestLike = NonNullable<Parameters<SecurityEvents['emit']>[2]>
