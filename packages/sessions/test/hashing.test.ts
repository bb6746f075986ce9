/** The cost of password hashes, and the queue that bounds the work. */
import { createPrivateKey } from 'node:crypto'
import { createPasswordCheck, generateKey, hashPassword, needsRehash } from '@parapet/sessions'
import t from 'tap'
import { HashQueue, hashQueue } from '../src/passwords/hash-queue.ts'
import { createCheck } from '../src/passwords/password-check.ts'
import { build, reader, refusalOf } from './build.ts'

const BUSY = [503, 'PARAPET_SESSIONS_BUSY']

/** Work that ends when the test says so. */
function createWork() {
  const ends: (() => void)[] = []
  return { ends, work: () => new Promise<void>((resolve) => void ends.push(resolve)) }
}

const settle = () => new Promise<void>((resolve) => void setImmediate(resolve))

await t.test('few hashes run at once, some wait in order, and the rest is refused', async (t) => {
  const queue = new HashQueue({ maxRunning: 2, maxWaiting: 3 }, async () => {})
  const { ends, work } = createWork()
  const done: number[] = []
  const runs = [1, 2, 3, 4, 5].map((n) => queue.run(work).then(() => done.push(n)))
  t.same(queue.state, { running: 2, waiting: 3, refused: 0 })
  const busy = { code: BUSY[1], statusCode: 503, headers: { 'retry-after': '1' } }
  await t.rejects(queue.run(work), busy)
  t.same([queue.state.refused, ends.length], [1, 2], 'the refused work did not run')
  while (done.length < 5) {
    ends.shift()?.()
    await settle()
    t.ok(queue.state.running <= 2)
  }
  await Promise.all(runs)
  t.same(done, [1, 2, 3, 4, 5])
  const failing = queue.run(async () => Promise.reject(new Error('no memory')))
  await t.rejects(failing, /no memory/)
  t.same(queue.state, { running: 0, waiting: 0, refused: 1 }, 'a failure frees its place')
})

await t.test(
  'a refusal waits as long as Retry-After says, up to 1000 at once, and costs no query',
  async (t) => {
    const held: (() => void)[] = []
    const waits: number[] = []
    const queue = new HashQueue({ maxRunning: 1, maxWaiting: 0 }, (ms) => {
      waits.push(ms)
      return new Promise<void>((resolve) => void held.push(resolve))
    })
    const { ends, work } = createWork()
    const running = queue.run(work)
    let lookups = 0
    const findAccount = async () => {
      lookups++
      return null
    }
    const library = async () => t.fail('no password is hashed') as never
    const check = createCheck({ findAccount }, { library, queue })
    let refused = 0
    const guesses = Array.from({ length: 1001 }, () =>
      check({ login: 'a', password: 'x' }).then(
        () => t.fail('it is refused'),
        (error: Error) => {
          refused++
          t.match(error, { code: BUSY[1], statusCode: 503, headers: { 'retry-after': '1' } })
        },
      ),
    )
    await settle()
    t.same([held.length, refused, queue.state.refused], [1000, 1, 1001], 'one is sent at once')
    t.same([...new Set(waits)], [1000])
    for (const release of held) release()
    await Promise.all(guesses)
    t.equal(lookups, 0)
    const last = queue.run(work).catch(() => {})
    t.equal(held.length, 1001, 'the places of the refusals are free again')
    held.at(-1)!()
    ends.shift()!()
    await Promise.all([running, last])
  },
)

await t.test(
  'beyond the queue a login is 503 with Retry-After, and a refresh still works',
  async (t) => {
    t.after(() => hashQueue.configure({ maxRunning: 2, maxWaiting: 50 }))
    const passwordHash = await hashPassword('right')
    const { app, start } = await build(t, {
      prefix: '/auth',
      hashing: { maxRunning: 1, maxWaiting: 4 },
      credentials: createPasswordCheck({
        findAccount: async () => ({ user: reader, passwordHash }),
      }),
    })
    const { refreshToken } = await start()
    const guess = () =>
      app.inject({ method: 'POST', url: '/auth/login', payload: { login: 'a', password: 'wrong' } })
    const guesses = Array.from({ length: 60 }, guess)
    const order: string[] = []
    const all = Promise.all(guesses).then((replies) => {
      order.push('guesses')
      return replies
    })
    t.ok(await app.sessions.refresh(refreshToken))
    order.push('refresh')
    const replies = await all
    const busy = replies.filter(({ statusCode }) => statusCode === 503)
    t.equal(busy.length, 55, 'one ran and four waited')
    t.same([refusalOf(busy[0]!), busy[0]!.headers['retry-after']], [BUSY, '1'])
    t.same(order, ['refresh', 'guesses'], 'the refresh did not wait for the guesses')
    t.same(app.sessions.hashing, { running: 0, waiting: 0, refused: 55 })
    t.equal((await guess()).statusCode, 401)
  },
)

await t.test('the cost of hashes is an option with a floor', async (t) => {
  const cost = { memoryKib: 9216, passes: 4 }
  const text = await hashPassword('right', cost)
  t.match(text, /^\$argon2id\$v=19\$m=9216,t=4,p=1\$/)
  t.equal(needsRehash(text), true, 'it has less memory than the default')
  t.equal(needsRehash(text, cost), false)
  const saved: string[] = []
  const check = createPasswordCheck({
    findAccount: async () => ({ user: reader, passwordHash: text }),
    saveHash: async (_id, hash) => void saved.push(hash),
    cost: { memoryKib: 32_768, passes: 2 },
  })
  t.ok(await check({ login: 'a', password: 'right' }))
  t.match(saved, [/m=32768,t=2/])
  const invalid = { code: 'PARAPET_SESSIONS_INVALID_ARGUMENT', statusCode: 500 }
  for (const [memoryKib, passes] of [
    [7167, 16],
    [7168, 4],
    [19_456, 1],
    [262_145, 1],
    [19_456.5, 2],
  ]) {
    const weak = { memoryKib: memoryKib!, passes: passes! }
    await t.rejects(hashPassword('x', weak), invalid, JSON.stringify(weak))
    t.throws(() => createPasswordCheck({ findAccount: async () => null, cost: weak }), invalid)
  }
})

await t.test('a generated key is encrypted under 600 000 rounds', async (t) => {
  for (const algorithm of ['ES256', 'EdDSA', 'RS256'] as const) {
    const { pem, passphrase } = generateKey('correct horse', algorithm)
    const der = Buffer.from(pem.replace(/-----.*-----|\n/g, ''), 'base64').toString('hex')
    t.match(der, '02030927c0', '600 000 as a DER integer')
    t.match(der, '06082a864886f70d0209', 'HMAC-SHA-256')
    t.ok(createPrivateKey({ key: pem, passphrase: passphrase! }), `Node reads it: ${algorithm}`)
    t.throws(() => createPrivateKey({ key: pem, passphrase: 'wrong' }))
  }
  t.match(generateKey(null), { pem: /^-----BEGIN PRIVATE KEY-----/ })
})
