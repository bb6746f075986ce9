/** Redis for tests: a key prefix on a running server, or a whole server for one test. */
import { randomUUID } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join as joinPath } from 'node:path'
import { Redis } from 'ioredis'
import { findExecutable, findFreePort, retryUntil, ServerProcess } from './server-process.ts'
import { missService, type TestContext } from './test-context.ts'

/** A key prefix on a shared Redis. */
export interface RedisFixture {
  readonly url: string
  /** Every key and channel of the test must begin with it; its keys are deleted after the test. */
  readonly prefix: string
}

/** A Redis for one test. */
export interface RedisServer {
  readonly port: number
  readonly url: string
  /** Pauses the server: connections stay open, but nothing is answered. */
  pause(): Promise<void>
  /** Resumes a paused server. */
  resume(): void
  /** Kills the server, as a crash would; all data are lost. */
  kill(): Promise<void>
  /** Starts the server again on the same port, empty. */
  restart(): Promise<void>
  /** Shuts the server down cleanly; all data are lost. */
  stop(): Promise<void>
}

const DEFAULT_URL = 'redis://127.0.0.1:6379'
const CONNECT_DEADLINE_MS = 1000
const CLUSTER_DEADLINE_MS = 15_000
const SLOTS = 16_384
const NO_BINARY = 'redis-server is not on PATH'

let shared: Promise<string | null> | undefined

/**
 * Gives the test a key prefix of its own on a real Redis: that of `REDIS_URL`, else the one on the
 * standard port, else one started from PATH for this process.
 *
 * @returns `null` when there is none; the test is skipped by then (or has failed, where
 *   `PARAPET_REQUIRE_SERVICES=1`) and should return.
 * @throws Error `REDIS_URL` is set and nothing answers there.
 */
export async function useRedis(t: TestContext): Promise<RedisFixture | null> {
  shared ??= findRedis()
  const url = await shared
  if (url === null) {
    return missService(t, 'Redis', `nothing answers on ${DEFAULT_URL} and ${NO_BINARY}`)
  }
  const prefix = `parapet-test:${randomUUID()}:`
  t.after(() => withRedis(url, (redis) => deletePrefix(redis, prefix)))
  return { url, prefix }
}

/**
 * Starts a Redis for this test only, on a free loopback port, and stops it after the test, even if
 * it is paused.
 *
 * @param options.cluster one node that owns all 16384 slots, so that a script over two slots is
 *   refused as in a real cluster; it takes two seconds to be ready. @default false
 * @returns `null` when redis-server is not on PATH, as {@link useRedis} does.
 */
export async function startRedis(
  t: TestContext,
  options: { readonly cluster?: boolean } = {},
): Promise<RedisServer | null> {
  const file = findExecutable('redis-server')
  if (file === null) return missService(t, 'Redis', NO_BINARY)
  const server = await createServer(file, options.cluster ?? false)
  t.after(() => server.dispose())
  await server.restart()
  return server
}

/**
 * Starts a cluster of primaries without replicas for this test only; each node owns an equal part of the
 * slots, and keeps its place after a kill and a restart.
 *
 * @returns the nodes, or `null` when redis-server is not on PATH, as {@link useRedis} does.
 */
export async function startRedisCluster(
  t: TestContext,
  count = 3,
): Promise<readonly RedisServer[] | null> {
  const file = findExecutable('redis-server')
  if (file === null) return missService(t, 'Redis', NO_BINARY)
  const nodes: (RedisServer & { readonly busPort: number })[] = []
  for (let index = 0; index < count; index++) {
    const from = Math.floor((SLOTS * index) / count)
    const to = Math.floor((SLOTS * (index + 1)) / count) - 1
    const node = await createServer(file, true, (redis) => joinCluster(redis, from, to, nodes[0]))
    t.after(() => node.dispose())
    nodes.push(node)
    await node.restart()
  }
  for (const { url } of nodes) await withRedis(url, waitForCluster)
  return nodes
}

async function joinCluster(
  redis: Redis,
  from: number,
  to: number,
  first: { readonly port: number; readonly busPort: number } | undefined,
): Promise<void> {
  const assigned = /cluster_slots_assigned:([1-9])/.test(
    String(await redis.call('CLUSTER', 'INFO')),
  )
  // A node that was started again knows its slots and its peers.
  if (assigned) return
  await redis.call('CLUSTER', 'ADDSLOTSRANGE', String(from), String(to))
  if (first !== undefined && first.port !== Number(redis.options.port)) {
    await redis.call('CLUSTER', 'MEET', '127.0.0.1', String(first.port), String(first.busPort))
  }
}

async function createServer(
  file: string,
  cluster: boolean,
  join: (redis: Redis) => Promise<void> = formCluster,
): Promise<RedisServer & { readonly busPort: number; dispose(): Promise<void> }> {
  const port = await findFreePort()
  const url = `redis://127.0.0.1:${port}`
  const folder = mkdtempSync(joinPath(tmpdir(), 'parapet-redis-'))
  const args = ['--port', `${port}`, '--bind', '127.0.0.1', '--dir', folder]
  args.push('--save', '', '--appendonly', 'no')
  const busPort = await findFreePort()
  const clusterArgs = ['--cluster-enabled', 'yes', '--cluster-port', `${busPort}`]
  // A node without peers does not know its own address, and clients would not find it.
  clusterArgs.push('--cluster-announce-ip', '127.0.0.1')
  const server = new ServerProcess({
    file,
    args: cluster ? [...args, ...clusterArgs] : args,
    folder,
    endSignal: 'SIGKILL',
    probe: () => pingRedis(url),
  })
  return {
    port,
    busPort,
    url,
    pause: () => server.pause(),
    resume: () => server.resume(),
    kill: () => server.end('SIGKILL'),
    stop: () => server.end('SIGTERM'),
    restart: async () => {
      await server.end('SIGTERM')
      await server.start()
      if (cluster) await withRedis(url, join)
    },
    dispose: async () => {
      await server.end('SIGKILL')
      rmSync(folder, { recursive: true, force: true })
    },
  }
}

async function formCluster(redis: Redis): Promise<void> {
  const info = String(await redis.call('CLUSTER', 'INFO'))
  if (!info.includes('cluster_slots_assigned:16384')) {
    await redis.call('CLUSTER', 'ADDSLOTSRANGE', '0', '16383')
  }
  await waitForCluster(redis)
}

async function waitForCluster(redis: Redis): Promise<void> {
  const info = async () => String(await redis.call('CLUSTER', 'INFO'))
  await retryUntil(async () => {
    const state = await info()
    if (!state.includes('cluster_state:ok')) throw new Error(`the cluster is not ready: ${state}`)
  }, CLUSTER_DEADLINE_MS)
}

/** Finds a Redis that answers, in the order of {@link useRedis}; `null`: there is none. */
export async function findRedis(local = DEFAULT_URL): Promise<string | null> {
  const given = process.env['REDIS_URL']
  if (given !== undefined && given !== '') {
    await pingRedis(given)
    return given
  }
  try {
    await pingRedis(local)
    return local
  } catch {
    const file = findExecutable('redis-server')
    if (file === null) return null
    // Its guard stops it when this process ends.
    const server = await createServer(file, false)
    await server.restart()
    return server.url
  }
}

async function pingRedis(url: string): Promise<void> {
  await withRedis(url, (redis) => redis.ping())
}

async function withRedis(url: string, use: (redis: Redis) => Promise<unknown>): Promise<void> {
  const redis = new Redis(url, {
    lazyConnect: true,
    connectTimeout: CONNECT_DEADLINE_MS,
    retryStrategy: () => null,
  })
  let fault: Error | undefined
  redis.on('error', (error: Error) => {
    fault = error
  })
  try {
    await redis.connect()
    await use(redis)
  } catch (error) {
    throw fault === undefined ? error : new Error(`${url}: ${fault.message}`, { cause: error })
  } finally {
    redis.disconnect()
  }
}

async function deletePrefix(redis: Redis, prefix: string): Promise<void> {
  for await (const keys of redis.scanStream({ match: `${prefix}*`, count: 500 })) {
    if ((keys as string[]).length > 0) await redis.unlink(...(keys as string[]))
  }
}
