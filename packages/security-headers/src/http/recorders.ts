/** Runs @fastify/helmet and @fastify/cors once each, on a temporary app, and records their headers. */
import type { HelmetRecorder, HelmetSettings } from '../headers/helmet-settings.ts'
import type { CorsRecorder } from '../cors/cors.ts'
import type { CorsSettings } from '../cors/options.ts'

/** Headers that Node and Fastify themselves send. */
const OWN_HEADERS = new Set(['connection', 'content-length', 'content-type', 'date', 'keep-alive'])

/** Creates a recorder that runs helmet once for each distinct setting. */
export function createHelmetRecorder(): HelmetRecorder {
  const recorded = new Map<string, Promise<Readonly<Record<string, string>>>>()
  return (settings) => {
    const key = JSON.stringify(settings)
    let result = recorded.get(key)
    if (result === undefined) recorded.set(key, (result = recordHelmet(settings)))
    return result
  }
}

async function recordHelmet(settings: HelmetSettings): Promise<Record<string, string>> {
  const { default: Fastify } = await import('fastify')
  const { default: fastifyHelmet } = await import('@fastify/helmet')
  const app = Fastify()
  try {
    await app.register(fastifyHelmet, settings)
    app.get('/', async () => '')
    return readHeaders(await app.inject('/'))
  } finally {
    await app.close()
  }
}

/** Records the headers for an allowed origin: of an actual response and of a preflight response. */
export const recordCors: CorsRecorder = async (settings: CorsSettings, origin: string) => {
  const { default: Fastify } = await import('fastify')
  const { default: fastifyCors } = await import('@fastify/cors')
  const app = Fastify()
  try {
    await app.register(fastifyCors, {
      // An array, so that the plugin reflects the origin and sets Vary as it does for several.
      origin: settings.origins.includes('*') ? '*' : [origin],
      methods: [...settings.methods],
      allowedHeaders: [...settings.allowedHeaders],
      exposedHeaders: [...settings.exposedHeaders],
      credentials: settings.credentials,
      maxAge: settings.maxAgeSeconds,
    })
    app.get('/', async () => '')
    return {
      actual: readHeaders(await app.inject({ url: '/', headers: { origin } })),
      preflight: readHeaders(
        await app.inject({
          method: 'OPTIONS',
          url: '/',
          headers: { origin, 'access-control-request-method': 'GET' },
        }),
      ),
    }
  } finally {
    await app.close()
  }
}

interface RecordedResponse {
  readonly statusCode: number
  readonly headers: Readonly<Record<string, unknown>>
  json(): unknown
}

function readHeaders(response: RecordedResponse): Record<string, string> {
  if (response.statusCode >= 400) throw new Error((response.json() as { message: string }).message)
  const entries = Object.entries(response.headers).filter(([name]) => !OWN_HEADERS.has(name))
  return Object.fromEntries(entries.map(([name, value]) => [name, String(value)]))
}
