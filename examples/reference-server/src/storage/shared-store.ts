/** The shared state at `app.store`: Redis where REDIS_URL says so, else this process's memory. */
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

/** What the plugin takes. */
export interface StoreOptions {
  readonly redisUrl: string | undefined
}

async function storePlugin(app: FastifyInstance, { redisUrl }: StoreOptions): Promise<void> {
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
    // A command whose answer was lost may have run; sent again it would count twice. The store
    // reports it, and its breaker decides when to try.
    autoResendUnfulfilledCommands: false,
    maxRetriesPerRequest: 0,
  })
  client.on('ready', () => app.log.info('the Redis connection is ready'))
  client.on('error', (error) => app.log.warn({ err: error }, 'the Redis connection failed'))
  try {
    // Here rather than in @fastify/redis, which would go on trying until the boot times out.
    await client.connect()
  } catch (error) {
    client.disconnect()
    throw error
  }
  await app.register(fastifyRedis, { client, closeClient: true })
  return client
}

/** Opens the store and decorates `app.store`. */
export const store = fp(storePlugin, { name: 'store', fastify: '5.x' })
