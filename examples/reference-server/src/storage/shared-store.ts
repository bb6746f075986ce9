/** The plugins' shared state at `app.store`: Redis if `REDIS_URL` is set, otherwise memory. */
import fastifyRedis from '@fastify/redis'
import { createMemoryStore, createRedisStore, useStoreEvents, type Store } from '@parapet/kit'
import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import { Redis } from 'ioredis'

declare module 'fastify' {
  interface FastifyInstance {
    store: Store
  }
}

/** The options of the plugin. */
export interface SharedStoreOptions {
  readonly redisUrl: string | undefined
}

async function sharedStorePlugin(
  app: FastifyInstance,
  { redisUrl }: SharedStoreOptions,
): Promise<void> {
  const onError = (error: unknown) => app.log.error({ err: error }, 'a store subscriber failed')
  const store =
    redisUrl === undefined
      ? createMemoryStore({ onError })
      : createRedisStore({ client: await connect(app, redisUrl), onError })
  app.decorate('store', store)
  useStoreEvents(app, store)
  app.addHook('onClose', () => store.close())
}

async function connect(app: FastifyInstance, url: string): Promise<Redis> {
  const client = new Redis(url, {
    connectionName: 'parapet-reference-server',
    lazyConnect: true,
    // Redis may have run a command whose response was lost; sent again, it would count twice. The
    // store reports the failure instead, and its circuit breaker decides when to retry.
    autoResendUnfulfilledCommands: false,
    maxRetriesPerRequest: 0,
  })
  client.on('ready', () => app.log.info('the Redis connection is ready'))
  client.on('error', (error) => app.log.warn({ err: error }, 'the Redis connection failed'))
  try {
    // Connects before @fastify/redis does, which would retry until the plugin timeout.
    await client.connect()
  } catch (error) {
    client.disconnect()
    throw error
  }
  await app.register(fastifyRedis, { client, closeClient: true })
  return client
}

/** Opens the store and decorates `app.store`. */
export const sharedStore = fp(sharedStorePlugin, { name: 'shared-store', fastify: '5.x' })
