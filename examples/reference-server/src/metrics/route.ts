/** `/metrics`: for Prometheus, with a token of its own, and for administrators. */
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { secretsEqual } from '@parapet/kit'
import type { FastifyRequest } from 'fastify'
import { PARAPET_REFERENCE_METRICS_REFUSED } from '../errors.ts'
import { fileOf, problems } from '../http/schemas.ts'

/** The options of the plugin. */
export interface MetricsRouteOptions {
  /** `Authorization: Metrics <token>` reads the metrics. `undefined`: a session or an API key only. */
  readonly metricsToken: string | undefined
}

const route = {
  schema: {
    operationId: 'getMetrics',
    summary: 'Read the metrics of this instance, for Prometheus',
    tags: ['health'],
    response: { 200: fileOf('text/plain', 'Text format 0.0.4'), ...problems },
  },
  config: {
    rbac: { public: 'the handler asks for the token of Prometheus or a permission' },
    anomaly: { watch: false },
  },
} as const

/** The route. */
export const metricsRoute: FastifyPluginAsyncTypebox<MetricsRouteOptions> = async (
  app,
  { metricsToken },
) => {
  const { registry } = app.metrics
  app.get('/metrics', route, async (request, reply) => {
    const mayRead = hasToken(request, metricsToken) || request.rbac.can('metrics:read')
    if (!mayRead) throw new PARAPET_REFERENCE_METRICS_REFUSED()
    const text = await registry.metrics()
    return reply.type(registry.contentType).send(text)
  })
}

function hasToken({ headers }: FastifyRequest, token: string | undefined): boolean {
  const [, given] = /^Metrics (\S{1,1024})$/i.exec(headers.authorization ?? '') ?? []
  return token !== undefined && given !== undefined && secretsEqual(given, token)
}
