/** Traces for an OpenTelemetry collector, if `OTEL_EXPORTER_OTLP_ENDPOINT` is set. */
import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'

/** The options of the plugin. */
export interface TelemetryOptions {
  /** The base URL of the collector; spans go to `/v1/traces` below it. `undefined`: no traces. */
  readonly otelEndpoint: string | undefined
  readonly otelServiceName: string
}

/** How long the last spans may take to leave at shutdown. */
const EXPORT_MS = 3000
/** Spans that wait for the collector; further ones are dropped. */
const MAX_QUEUE = 2048

async function telemetryPlugin(
  app: FastifyInstance,
  { otelEndpoint, otelServiceName }: TelemetryOptions,
): Promise<void> {
  if (otelEndpoint === undefined) return
  // Loaded only when traces are wanted: the libraries are large.
  const [{ FastifyOtelInstrumentation }, { OTLPTraceExporter }, sdk, { resourceFromAttributes }] =
    await Promise.all([
      import('@fastify/otel'),
      import('@opentelemetry/exporter-trace-otlp-http'),
      import('@opentelemetry/sdk-trace-node'),
      import('@opentelemetry/resources'),
    ])
  const exporter = new OTLPTraceExporter({
    url: new URL('v1/traces', withSlash(otelEndpoint)).href,
    timeoutMillis: EXPORT_MS,
  })
  const provider = new sdk.NodeTracerProvider({
    resource: resourceFromAttributes({ 'service.name': otelServiceName }),
    spanProcessors: [new sdk.BatchSpanProcessor(exporter, { maxQueueSize: MAX_QUEUE })],
  })
  // Takes `traceparent` of requests over, and keeps the span across awaits.
  provider.register()
  const instrumentation = new FastifyOtelInstrumentation({
    registerOnInitialization: false,
    // The library takes the whole URL: a query string may contain a secret.
    requestHook: (span, { url }) => span.setAttribute('url.path', url.split('?', 1)[0]!),
  })
  instrumentation.setTracerProvider(provider)
  await app.register(instrumentation.plugin())
  app.addHook('onClose', () =>
    provider
      .shutdown()
      .catch((error: unknown) => app.log.warn({ err: error }, 'the last traces are lost')),
  )
}

function withSlash(url: string): string {
  return url.endsWith('/') ? url : `${url}/`
}

/** Register it first: it wraps the hooks that are added later. */
export const telemetry = fp(telemetryPlugin, { name: 'telemetry', fastify: '5.x' })
