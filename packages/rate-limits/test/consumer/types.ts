// Compiled by a strict consumer against the packed declarations; every line tests a type.
import plugin, {
  acceptForgedAddresses,
  rateLimits,
  type RateLimits,
  type RateLimitsOptions,
} from '@parapet/rate-limits'
import Fastify from 'fastify'

const options: RateLimitsOptions = {
  tiers: {
    search: {
      limits: [{ limit: 30, windowMs: 60_000 }],
      key: ['principal', 'header:x-device'],
      cost: ({ query }) => Number((query as { pages?: string }).pages ?? 1),
      count: ({ statusCode }) => statusCode !== 304,
    },
    standard: { dryRun: true },
  },
  contain: ({ ip, attempts }) => `${ip} ${attempts}`,
  plan: (request) => request.principal?.roles[0],
  [acceptForgedAddresses]: true,
}
const app = Fastify()
await app.register(plugin, options)

export const decorated: RateLimits = app.rateLimits
export const remaining: number | undefined = (await app.rateLimits.peek('search', { ip: '::1' }))
  .limits[0]?.remaining

app.securityEvents.on('rate_limits.exceeded', ({ details, severity }) => {
  const limit: number = details.limit
  app.log.info({ limit, severity })
})
app.get('/', { config: { rateLimit: 'search' } }, (request, reply) =>
  reply.send(request.principal?.id),
)
app.get('/both', { config: { rateLimit: { tiers: ['search'], count: 'failures' } } }, async () => 1)

// @ts-expect-error a rule of another form
app.get('/typo', { config: { rateLimit: { max: 5 } } }, async () => null)
// @ts-expect-error an option that does not exist
await app.register(rateLimits, { tier: {} })
// @ts-expect-error a component that does not exist
await app.register(rateLimits, { tiers: { standard: { key: 'user' } } })
// @ts-expect-error an event that does not exist
app.securityEvents.on('rate_limits.refused', () => {})
await app.close()
