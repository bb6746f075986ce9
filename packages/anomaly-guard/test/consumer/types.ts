// Compiled by a strict consumer against the packed declarations; every line tests a type.
import plugin, {
  anomalyGuard,
  rules,
  type Anomaly,
  type AnomalyGuard,
  type AnomalyGuardOptions,
  type Containment,
} from '@parapet/anomaly-guard'
import Fastify from 'fastify'

const options: AnomalyGuardOptions = {
  mode: 'alert',
  rules: [
    rules.bruteForce({ limit: 3 }),
    rules.define('coupon', { on: 'coupon', by: 'client', limit: 5, withinMs: 60_000 }),
  ],
  contain: { stepsMs: [60_000] },
}
const app = Fastify()
await app.register(plugin, options)

export const decorated: AnomalyGuard = app.anomaly
export const inForce: readonly Containment[] = app.anomaly.contain.list()
export const anomalies: Anomaly[] = await app.anomaly.timeline()

app.securityEvents.on('anomaly_guard.contained', ({ details, severity }) => {
  const until: number = details.until
  app.log.info({ until, severity })
})
app.get('/export', { config: { anomaly: { tag: 'export' } } }, async (request) => {
  request.anomaly.fail('coupon', { account: 'a' })
  return request.anomaly.inspection?.score ?? 0
})

// @ts-expect-error a tag that is no text
app.get('/typo', { config: { anomaly: { tag: 5 } } }, async () => null)
// @ts-expect-error an option that does not exist
await app.register(anomalyGuard, { modes: 'alert' })
// @ts-expect-error an event that does not exist
app.securityEvents.on('anomaly_guard.contain', () => {})
await app.close()
