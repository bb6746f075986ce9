/** The settings and users of Redis, on a real server, with the app as its client. */
import { EventEmitter, once } from 'node:events'
import { readFileSync, writeFileSync, mkdirSync, chmodSync } from 'node:fs'
import { join } from 'node:path'
import { createRedisStore } from '@parapet/kit'
import { findExecutable, findFreePort, missService, ServerProcess } from '@parapet/testing'
import { Redis } from 'ioredis'
import t, { type Test } from 'tap'
import { deployFolder } from '../../deploy/check/all.ts'
import { createOpenFolder, prepareSecrets } from '../support/deploy.ts'

const secrets = await prepareSecrets(t, 'redis')
const file = findExecutable('redis-server')

async function start(t: Test, program: string) {
  const folder = createOpenFolder(t)
  mkdirSync(join(folder, 'data'))
  chmodSync(folder, 0o777)
  const port = await findFreePort()
  const config = readFileSync(join(deployFolder, 'redis/redis.conf'), 'utf8')
    .replaceAll('/run/secrets/', `${secrets.folder}/`)
    .replace('dir /data', `dir ${folder}/data`)
    .replace('tls-port 6379', `tls-port ${port}`)
    .replace('bind * -::*', 'bind 127.0.0.1')
  writeFileSync(join(folder, 'redis.conf'), config)
  const server = new ServerProcess({
    file: program,
    args: [join(folder, 'redis.conf')],
    folder,
    endSignal: 'SIGTERM',
    probe: () => withClient(port, 'parapet', async (client) => void (await client.ping())),
  })
  t.after(() => server.end('SIGKILL'))
  await server.start()
  return port
}

function clientOf(port: number, user: string, tls: object | undefined, password?: string): Redis {
  const client = new Redis({
    port,
    host: '127.0.0.1',
    username: user,
    password: password ?? secrets.read(`password-redis-${user}`),
    lazyConnect: true,
    enableReadyCheck: false,
    retryStrategy: () => null,
    ...(tls === undefined ? {} : { tls }),
  })
  client.on('error', () => {})
  return client
}

async function withClient<T>(
  port: number,
  user: string,
  work: (client: Redis) => Promise<T>,
): Promise<T> {
  const client = clientOf(port, user, { ca: secrets.ca, servername: 'redis' })
  try {
    await client.connect()
    return await work(client)
  } finally {
    client.disconnect()
  }
}

async function refusalOf(client: Redis): Promise<string> {
  try {
    await client.connect()
    await client.ping()
    return 'connected'
  } catch (error) {
    return (error as Error).message
  } finally {
    client.disconnect()
  }
}

if (file === null) missService(t, 'Redis', 'redis-server is not on PATH')
else {
  await t.test('Redis refuses clients without TLS, and commands beyond its users', async (t) => {
    const port = await start(t, file)
    const tls = { ca: secrets.ca, servername: 'redis' }
    t.equal(await refusalOf(clientOf(port, 'parapet', tls)), 'connected')
    t.not(await refusalOf(clientOf(port, 'parapet', undefined)), 'connected', 'without TLS')
    t.not(await refusalOf(clientOf(port, 'parapet', tls, 'other')), 'connected', 'another password')
    t.not(await refusalOf(clientOf(port, 'default', tls, '')), 'connected', 'the default user')
    t.not(
      await refusalOf(clientOf(port, 'parapet', { ...tls, ca: undefined })),
      'connected',
      'unknown CA',
    )
    t.not(
      await refusalOf(clientOf(port, 'parapet', { ...tls, maxVersion: 'TLSv1.2' })),
      'connected',
      'TLS 1.2',
    )

    const refused = async (user: string, command: string, ...args: string[]) =>
      withClient(port, user, async (client) => client.call(command, ...args)).then(
        () => 'done',
        (error: Error) => error.message.slice(0, 6),
      )
    for (const command of [
      'FLUSHALL',
      'KEYS *',
      'CONFIG GET *',
      'SHUTDOWN',
      'ACL LIST',
      'MONITOR',
    ]) {
      const [name = '', ...args] = command.split(' ')
      t.equal(await refused('parapet', name, ...args), 'NOPERM', command)
    }
    for (const command of ['GET a', 'SET a b', 'SCAN 0']) {
      const [name = '', ...args] = command.split(' ')
      t.equal(await refused('parapet_backup', name, ...args), 'NOPERM', command)
    }
  })

  await t.test('the store of the service works with the rights of its user', async (t) => {
    const port = await start(t, file)
    const client = clientOf(port, 'parapet', { ca: secrets.ca, servername: 'redis' })
    await client.connect()
    const store = createRedisStore({ client, onError: (error) => t.fail(String(error)) })
    t.after(async () => {
      await store.close()
      client.disconnect()
    })
    await store.set('a', '1', 60_000)
    t.equal(await store.get('a'), '1')
    t.equal(await store.setIfAbsent('a', '2', 60_000), false)
    t.equal(await store.compareAndSet('a', '1', '3', 60_000), true)
    t.equal(await store.getAndDelete('a'), '3')
    t.equal((await store.count('b', [{ windowMs: 60_000, limit: 1 }])).counted, true)
    t.equal(await store.append('c', 'x', { windowMs: 60_000, maxEntries: 2 }), 1)
    t.equal((await store.timeline('c', 60_000)).length, 1)
    t.match(await store.addMember('d', 'x', { ttlMs: 60_000, maxMembers: 10 }), { added: true })
    const messages = new EventEmitter()
    const received = once(messages, 'message')
    await store.subscribe('news', {
      message: (text) => void messages.emit('message', text),
      interrupted: () => {},
      restored: () => {},
    })
    await store.publish('news', 'hello')
    t.same(await received, ['hello'])
    t.same(await store.inspect(), [], 'no right is missing, and nothing is evicted')
  })
}
