/** The cost of the plugin per request, compared with a bare route and with a hook written by hand. */
import { goal, pairedBench } from '@parapet/testing'
import { anomalyGuard } from '@parapet/anomaly-guard'
import Fastify, { type FastifyInstance } from 'fastify'

const operator = { id: 'op-1', roles: ['operator'] }

function createApp(): FastifyInstance {
  const app = Fastify()
  app.decorateRequest('principal', null)
  app.addHook('onRequest', async (request) => {
    request.principal = operator
  })
  return app
}

const bare = createApp()
bare.get('/', async () => 'here')

const byHand = createApp()
byHand.addHook('onRequest', async (request, reply) => {
  if (request.url !== '/' || request.principal?.roles.includes('operator') === true) return
  await reply.code(503).send()
})
byHand.get('/', async () => 'here')

const guarded = createApp()
await guarded.register(anomalyGuard, { allowedRoles: ['operator'] })
guarded.get('/', { config: { anomalyGuard: 'closed' } }, async () => 'here')

const apps = [bare, byHand, guarded]
await Promise.all(apps.map((app) => app.ready()))
const result = await pairedBench({
  time: 'cpu',
  minMs: 100,
  cases: {
    'a bare route': async () => bare.inject('/'),
    'a hook by hand': async () => byHand.inject('/'),
    'a closed route, allowed role': async () => guarded.inject('/'),
  },
})
console.log(result.table)
goal(
  'anomaly-guard-to-bare',
  result.ratio('a closed route, allowed role', 'a bare route').median,
  1.25,
)
goal(
  'anomaly-guard-to-hand',
  result.ratio('a closed route, allowed role', 'a hook by hand').median,
  1.15,
)
await Promise.all(apps.map((app) => app.close()))
