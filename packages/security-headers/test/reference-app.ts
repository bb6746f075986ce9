/** Registers the plugin with every route that it has, for the generated reference. */
import { securityHeaders } from '@parapet/security-headers'
import type { FastifyInstance } from 'fastify'

const DAY_MS = 86_400_000

export default async function register(app: FastifyInstance): Promise<void> {
  await app.register(securityHeaders, {
    reports: {},
    securityTxt: {
      contact: ['mailto:security@example.com'],
      // The lint refuses a date in the past, so it has to be computed.
      expires: `${new Date(Date.now() + 180 * DAY_MS).toISOString().slice(0, 19)}Z`,
    },
  })
}
