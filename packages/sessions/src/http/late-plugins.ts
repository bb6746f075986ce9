/** Warns of plugins that must be registered before this one, because Fastify runs hooks in that order. */
import type { FastifyInstance } from 'fastify'

const MUST_COME_EARLIER: Readonly<Record<string, string>> = {
  '@fastify/cors': 'preflight requests carry no token and get 401',
  '@fastify/helmet': 'refusals are sent without its headers',
  '@fastify/rate-limit': 'the login routes and refused requests are not limited',
}

/** Logs a warning at the end of the boot for each plugin that came too late to act before this one. */
export function warnOfLatePlugins(app: FastifyInstance): void {
  const absent = Object.keys(MUST_COME_EARLIER).filter((name) => !app.hasPlugin(name))
  app.addHook('onReady', async () => {
    for (const name of absent.filter((each) => app.hasPlugin(each))) {
      app.log.warn(
        `sessions was registered before ${name}, so ${MUST_COME_EARLIER[name]}. Register ${name} first.`,
      )
    }
  })
}
