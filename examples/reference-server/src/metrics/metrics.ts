/** Metrics for Prometheus: requests and latency by route, security events, limits and the state of plugins. */
import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import { collectDefaultMetrics, Counter, Histogram, Registry } from 'prom-client'
import { collectState } from './state.ts'

declare module 'fastify' {
  interface FastifyInstance {
    readonly metrics: {
      /** Register further metrics here; their names begin with `parapet_`. */
      readonly registry: Registry
    }
  }
}

/** From a cached read to the deadline of a handler. */
const SECONDS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 25]
/** Stands for every path that no route has: a client cannot create series. */
const NO_ROUTE = 'none'

async function metricsPlugin(app: FastifyInstance): Promise<void> {
  const registry = new Registry()
  app.decorate('metrics', { registry })
  countRequests(app, registry)
  countSecurityEvents(app, registry)
  collectState(app, registry)
  // Observers of the process; a test that only injects requests does not need them.
  app.addHook('onListen', async () => collectDefaultMetrics({ register: registry }))
}

function countRequests(app: FastifyInstance, registry: Registry): void {
  const labels = ['method', 'route', 'status'] as const
  const durations = new Histogram({
    name: 'parapet_http_request_duration_seconds',
    help: 'Duration of requests by route and status',
    labelNames: labels,
    buckets: SECONDS,
    registers: [registry],
  })
  const aborted = new Counter({
    name: 'parapet_http_requests_aborted_total',
    help: 'Requests whose client left before the response was complete',
    labelNames: ['route'] as const,
    registers: [registry],
  })
  app.addHook('onResponse', async ({ method, is404, routeOptions }, reply) => {
    const route = is404 ? NO_ROUTE : (routeOptions.url ?? NO_ROUTE)
    durations.observe({ method, route, status: reply.statusCode }, reply.elapsedTime / 1000)
  })
  app.addHook('onRequestAbort', async ({ routeOptions }) => {
    aborted.inc({ route: routeOptions.url ?? NO_ROUTE })
  })
}

/** The types are those that plugins declare, so that the number of series is bounded. */
function countSecurityEvents(app: FastifyInstance, registry: Registry): void {
  const events = new Counter({
    name: 'parapet_security_events_total',
    help: 'Security events by type, severity and outcome',
    labelNames: ['type', 'severity', 'outcome'] as const,
    registers: [registry],
  })
  app.securityEvents.on('*', ({ type, severity, outcome }) => {
    events.inc({ type, severity, outcome })
  })
}

/** Decorates `app.metrics`. Register it after the event bus and before the routes. */
export const metrics = fp(metricsPlugin, { name: 'metrics', fastify: '5.x' })
