/** Lets @fastify/helmet and @fastify/cors compute, each on an app of its own that never listens. */
import fastifyCors from '@fastify/cors'
import fastifyHelmet from '@fastify/helmet'
import Fastify from 'fastify'
import type { HelmetRecorder, HelmetSettings } from './block.ts'
import type { CorsRecorder, CorsSettings } from './cors.ts'

/** What Node and Fastify themselves send. */
const OWN = new Set(['connection', 'content-length', 'content-type', 'date', 'keep-alive'])

/** Makes a recorder that computes each setting once. */
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
  const app = Fastify()
  try {
    await app.register(fastifyHelmet, settings)
    app.get('/', async () => '')
    return readReply(await app.inject('/'))
  } finally {
    await app.close()
  }
}

/** Records what an allowed origin is answered: on a request, and on its preflight. */
export const recordCors: CorsRecorder = async (settings: CorsSettings, origin: string) => {
  const app = Fastify()
  try {
    await app.register(fastifyCors, {
      // A list of one: the plugin then reflects it and says Vary, as it does for a longer one.
      origin: settings.origins.includes('*') ? '*' : [origin],
      methods: [...settings.methods],
      allowedHeaders: [...settings.allowedHeaders],
      exposedHeaders: [...settings.exposedHeaders],
      credentials: settings.credentials,
      maxAge: settings.maxAgeSeconds,
    })
    app.get('/', async () => '')
    return {
      actual: readReply(await app.inject({ url: '/', headers: { origin } })),
      preflight: readReply(
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

interface Reply {
  readonly statusCode: number
  readonly headers: Readonly<Record<string, unknown>>
  json(): unknown
}

function readReply(reply: Reply): Record<string, string> {
  if (reply.statusCode >= 400) throw new Error((reply.json() as { message: string }).message)
  const entries = Object.entries(reply.headers).filter(([name]) => !OWN.has(name))
  return Object.fromEntries(entries.map(([name, value]) => [name, String(value)]))
}
