/** The routes of the console that no plugin has. Register them under the prefix of the API. */
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import type { Clock } from '@parapet/kit'
import { addFeedRoutes } from './feed-routes.ts'
import { addReviewRoutes } from './review-routes.ts'

/** The options of the routes. */
export interface ConsoleOptions {
  /** @default the system clock */
  readonly clock?: Clock | undefined
  /** The secrets that are followed. */
  readonly secretNames: readonly string[]
}

/** The routes. */
export const consoleApi: FastifyPluginAsyncTypebox<ConsoleOptions> = async (
  app,
  { clock, secretNames },
) => {
  addFeedRoutes(app, clock)
  addReviewRoutes(app, secretNames)
}
