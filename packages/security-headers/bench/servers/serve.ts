/** The server of one variant. It reports its CPU time over the IPC channel on request. */
import type { AddressInfo } from 'node:net'
import fastifyCors from '@fastify/cors'
import fastifyHelmet from '@fastify/helmet'
import { securityHeaders } from '@parapet/security-headers'
import Fastify, { type FastifyInstance } from 'fastify'

const ORIGIN = 'https://app.example'
const reason = 'helmet sends as many headers'
/** Twelve headers, like helmet's defaults. */
const twelve = { preset: 'web', relax: { 'permissions-policy': reason } } as const

type Setup = (app: FastifyInstance) => Promise<unknown>

const setups: Readonly<Record<string, Setup>> = {
  bare: async () => {},
  helmet: async (app) => app.register(fastifyHelmet),
  'helmet-nonces': async (app) => app.register(fastifyHelmet, { enableCSPNonces: true }),
  'frozen-12': async (app) => app.register(securityHeaders, twelve),
  'frozen-12-nonce': async (app) => app.register(securityHeaders, twelve),
  // What Fastify and Node themselves need to send these twelve headers.
  'hook-12': async (app) => {
    const source = Fastify()
    await source.register(securityHeaders, twelve)
    const { headers } = source.securityHeaders
    await source.close()
    app.addHook('onRequest', (_request, reply, done) => {
      reply.headers(headers)
      done()
    })
  },
  api: async (app) => app.register(securityHeaders),
  'web-nonce': async (app) => app.register(securityHeaders, { preset: 'web', reports: {} }),
  cors: async (app) => app.register(fastifyCors, { origin: [ORIGIN], credentials: true }),
  'api-fastify-cors': async (app) => {
    await app.register(securityHeaders)
    await app.register(fastifyCors, { origin: [ORIGIN], credentials: true })
  },
  'api-cors': async (app) =>
    app.register(securityHeaders, { cors: { origins: [ORIGIN], credentials: true } }),
}

const variant = process.argv[2] ?? 'bare'
const app = Fastify()
await setups[variant]!(app)
if (variant.endsWith('nonce') || variant.endsWith('nonces')) {
  app.get('/', async (_request, reply) => ({ nonce: reply.cspNonce.script.length > 0 }))
} else {
  app.get('/', async () => ({ nonce: false }))
}
await app.listen({ port: 0, host: '127.0.0.1' })
process.on('message', () => process.send!(process.cpuUsage()))
process.on('disconnect', () => process.exit(0))
process.send!((app.server.address() as AddressInfo).port)
