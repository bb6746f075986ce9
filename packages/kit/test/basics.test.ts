/** Clock, breaker, ids, random bytes, addresses, problem details. */
import { once } from 'node:events'
import { BlockList, isIP } from 'node:net'
import { Worker } from 'node:worker_threads'
import {
  clientKey,
  createBreaker,
  createCidrMatcher,
  createError,
  createManualClock,
  createUuidV7,
  parseAddress,
  problemErrorHandler,
  problemNotFoundHandler,
  replaceForeignErrors,
  secretsEqual,
  systemClock,
  takeRandom,
  toProblem,
  uuidV7,
  withDeadline,
} from '@parapet/kit'
import fc from 'fast-check'
import Fastify from 'fastify'
import t from 'tap'

await t.test('a manual clock runs due tasks in order, and no cancelled task', (t) => {
  const clock = createManualClock(0)
  const ran: string[] = []
  clock.schedule(20, () => ran.push(`b ${clock.now()}`))
  clock.schedule(10, () => {
    ran.push(`a ${clock.now()}`)
    clock.schedule(5, () => ran.push(`c ${clock.now()}`))
  })
  const cancel = clock.schedule(1, () => ran.push('never'))
  cancel()
  cancel()
  clock.advance(19)
  t.strictSame(ran, ['a 10', 'c 15'])
  clock.advance(1)
  t.strictSame(ran, ['a 10', 'c 15', 'b 20'])
  t.end()
})

await t.test('the system clock runs a task once and cancels one', async (t) => {
  const cancel = systemClock.schedule(0, () => t.fail('cancelled'))
  cancel()
  const alive = setTimeout(() => {}, 10_000)
  await new Promise<void>((resolve) => void systemClock.schedule(1, resolve))
  clearTimeout(alive)
  t.ok(Math.abs(systemClock.now() - Date.now()) < 1000)
})

await t.test('the system clock waits longer than a timer of Node.js can', async (t) => {
  let fired = false
  const cancel = systemClock.schedule(2 ** 31 + 5, () => (fired = true))
  // Node.js would fire such a timer after a millisecond, before this one.
  await new Promise((resolve) => setTimeout(resolve, 5))
  t.equal(fired, false)
  cancel()
})

await t.test('a breaker opens, lets one probe through, and closes', async (t) => {
  const clock = createManualClock()
  const breaker = createBreaker({ failureThreshold: 2, cooldownMs: 100, clock })
  const states: string[] = []
  const stop = breaker.onStateChange((state) => states.push(state))
  breaker.fail()
  breaker.succeed()
  breaker.fail()
  t.equal(breaker.state, 'closed', 'failures count in a row')
  breaker.fail()
  t.equal(breaker.tryEnter(), false)
  breaker.succeed()
  t.equal(breaker.state, 'open', 'a late answer proves nothing')
  clock.advance(100)
  t.equal(breaker.tryEnter(), true)
  t.equal(breaker.tryEnter(), false, 'one at a time')
  breaker.fail()
  t.equal(breaker.state, 'open')
  breaker.allowProbe()
  t.equal(breaker.tryEnter(), true)
  breaker.succeed()
  t.equal(breaker.tryEnter(), true)
  t.strictSame(states, ['open', 'half-open', 'open', 'half-open', 'closed'])
  stop()
  const warned = new Promise((resolve) => process.once('warning', resolve))
  breaker.onStateChange(() => {
    throw new Error('listener')
  })
  breaker.fail()
  breaker.fail()
  t.equal(breaker.state, 'open', 'a listener that throws changes nothing')
  t.match(await warned, { message: 'listener' })
  t.equal(states.length, 5)
  breaker.allowProbe()
  breaker.allowProbe()
})

await t.test(
  'ids are UUIDv7, in order, also within a millisecond and when time steps back',
  (t) => {
    t.match(uuidV7(), /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/)
    let now = 0x0190_0000_0000
    const next = createUuidV7({ now: () => now, random: () => Buffer.alloc(10, 0xff) })
    const first = next()
    t.equal(first, '01900000-0000-77ff-bfff-ffffffffffff')
    let last = first
    for (let n = 0; n < 10_000; n++) {
      if (n === 5000) now -= 1000
      const id = next()
      if (id <= last) t.fail(`${id} follows ${last}`)
      last = id
    }
    now += 2000
    t.match(next(), /^01900000-03e8-77ff/)
    const many = new Set(Array.from({ length: 100_000 }, uuidV7))
    t.equal(many.size, 100_000)
    t.end()
  },
)

await t.test('random bytes are returned once and never change afterwards', (t) => {
  const views = Array.from({ length: 2000 }, () => takeRandom(12))
  const copies = views.map((view) => view.toString('hex'))
  takeRandom(1024)
  for (const size of [0, 1.5, 1025, 100_000]) {
    t.throws(() => takeRandom(size), { code: 'PARAPET_KIT_INVALID_ARGUMENT', statusCode: 500 })
  }
  t.equal(new Set(copies).size, 2000)
  t.strictSame(
    views.map((view) => view.toString('hex')),
    copies,
  )
  t.end()
})

await t.test('an address is parsed as Node parses it, however it is written', async (t) => {
  const group = fc.stringMatching(/^[0-9a-f]{0,4}$/)
  const like = fc.oneof(
    fc.ipV4(),
    fc.ipV4Extended(),
    fc.ipV6(),
    fc.array(group, { minLength: 1, maxLength: 9 }).map((groups) => groups.join(':')),
    fc.tuple(group, fc.ipV4()).map(([g, v4]) => `::${g}:${v4}`),
    fc.stringMatching(/^[0-9abf:.%/]*$/),
  )
  await fc.assert(
    fc.asyncProperty(like, async (text) => {
      t.equal(parseAddress(text) !== null, isIP(text) !== 0, text)
    }),
    { numRuns: 3000 },
  )
})

await t.test('one client has one key', (t) => {
  const cases: [string, string][] = [
    ['192.0.2.7', '192.0.2.7'],
    ['::ffff:192.0.2.7', '192.0.2.7'],
    ['::FFFF:c000:0207', '192.0.2.7'],
    ['2001:db8:0:1:2:3:4:5', '2001:db8:0:1::/64'],
    ['2001:0DB8:0000:0001::ffff', '2001:db8:0:1::/64'],
    ['fe80::1%eth0', 'fe80:0:0:0::/64'],
    ['::1', '0:0:0:0::/64'],
    ['192.0.2.7:443', '192.0.2.7'],
    ['[2001:db8:0:1::5]:443', '2001:db8:0:1::/64'],
    ['[::ffff:192.0.2.7]:80', '192.0.2.7'],
    ['64:ff9b::192.0.2.7', '192.0.2.7'],
    ['::192.0.2.7', '192.0.2.7'],
    ['64:ff9b:1::c000:207', '64:ff9b:1:0::/64'],
    ['', 'unknown'],
    ['192.0.2.7:', 'unknown'],
    ['192.0.2.7:443:1', 'unknown'],
    ['192.0.2.07', 'unknown'],
    ['192.0.2.256', 'unknown'],
    ['192.0.2.1%eth0', 'unknown'],
  ]
  for (const [address, key] of cases) t.equal(clientKey(address), key, address)
  t.equal(clientKey(undefined), 'unknown', 'the peer of a UNIX socket')
  t.end()
})

await t.test('a CIDR block of IPv4 contains its addresses however a proxy writes them', (t) => {
  const contains = createCidrMatcher(['203.0.113.0/24'])
  for (const address of [
    '203.0.113.9',
    '203.0.113.9:51234',
    '::ffff:203.0.113.9',
    '[::ffff:203.0.113.9]:80',
    '64:ff9b::203.0.113.9',
  ]) {
    t.equal(contains(address), true, address)
  }
  for (const address of ['203.0.114.9:1', '64:ff9b::203.0.114.9', 'unknown', '"203.0.113.9"']) {
    t.equal(contains(address), false, address)
  }
  t.end()
})

await t.test('a CIDR block contains the addresses that Node says it contains', async (t) => {
  const v4 = fc.tuple(fc.ipV4(), fc.integer({ min: 0, max: 32 }))
  const v6 = fc.tuple(fc.ipV6(), fc.integer({ min: 0, max: 128 }))
  await fc.assert(
    fc.asyncProperty(
      fc.oneof(v4, v6),
      fc.oneof(fc.ipV4(), fc.ipV6()),
      async ([block, bits], ip) => {
        const family = isIP(block) === 4 ? 'ipv4' : 'ipv6'
        // The first address of the block, so that no bits are set after the prefix.
        const bytes = parseAddress(block)!
        const offset = family === 'ipv4' ? 96 : 0
        const first = bytes.map((byte, i) => {
          const left = bits + offset - 8 * i
          return left >= 8 ? byte : left <= 0 ? 0 : byte & (0xff << (8 - left))
        })
        const network =
          family === 'ipv4'
            ? first.subarray(12).join('.')
            : Buffer.from(first).toString('hex').match(/.{4}/g)!.join(':')
        const contains = createCidrMatcher([`${network}/${bits}`])
        t.equal(contains(block), true)
        const oracle = new BlockList()
        oracle.addSubnet(network, bits, family)
        const ipFamily = isIP(ip) === 4 ? 'ipv4' : 'ipv6'
        if (ipFamily === family)
          t.equal(contains(ip), oracle.check(ip, ipFamily), `${ip} ${network}/${bits}`)
      },
    ),
    { numRuns: 1500 },
  )
})

await t.test('ambiguous and malformed blocks are refused', (t) => {
  const refused = { code: 'PARAPET_KIT_INVALID_ARGUMENT', statusCode: 500 }
  const bad = [
    '',
    'x',
    '10.0.0.1/8',
    '10.0.0.0/33',
    '10.0.0.0/-1',
    '10.0.0.0/08',
    '10.0.0.0/',
    '2001:db8::1/32',
    'fe80::%eth0/64',
    '::/129',
  ]
  for (const block of bad) t.throws(() => createCidrMatcher([block]), refused, block)
  const inside = createCidrMatcher(['10.0.0.0/8', '2001:db8::/32', '192.0.2.1'])
  t.equal(inside(undefined), false)
  t.equal(inside('::ffff:10.9.9.9'), true, 'v4-mapped')
  t.equal(inside('192.0.2.1'), true)
  t.equal(inside('192.0.2.2'), false)
  t.equal(inside('2001:db8:ffff::'), true)
  t.equal(inside('not an address'), false)
  t.equal(createCidrMatcher(['::ffff:10.0.0.0/104'])('10.1.1.1'), true)
  t.end()
})

await t.test(
  'a problem shows a client its own mistakes, and of a server error only the status',
  (t) => {
    t.strictSame(toProblem(new Error('password at db.internal:5432')), {
      type: 'about:blank',
      title: 'Internal Server Error',
      status: 500,
    })
    const Down = createError('PARAPET_X_DOWN', 'the store at 10.0.0.1', 503)
    t.strictSame(toProblem(new Down({ cause: new Error('x') }), 'r1'), {
      type: 'about:blank',
      title: 'Service Unavailable',
      status: 503,
      code: 'PARAPET_X_DOWN',
      requestId: 'r1',
    })
    t.strictSame(toProblem(Object.assign(new Error('x'), { code: 'ECONNREFUSED' })).code, undefined)
    t.match(toProblem({ statusCode: 404, message: 'no such user' }), {
      status: 404,
      detail: 'no such user',
    })
    for (const odd of [
      null,
      undefined,
      'text',
      7,
      { statusCode: 200 },
      { statusCode: 'x' },
      { statusCode: 600 },
    ]) {
      t.equal(toProblem(odd).status, 500)
    }
    t.equal(toProblem({ statusCode: 499, message: 'x' }).title, 'Client Error')
    t.equal(toProblem({ statusCode: 599 }).title, 'Server Error')
    t.end()
  },
)

await t.test('anything that is thrown becomes a problem', async (t) => {
  const unreadable = Object.defineProperty({}, 'statusCode', {
    get() {
      throw new Error('no')
    },
  })
  t.equal(toProblem(unreadable).status, 500)
  t.equal(toProblem({ status: 403, message: 'no' }).status, 403)
  t.strictSame(toProblem({ validation: [{ message: 'a is bad', instancePath: '/a' }, null] }), {
    type: 'about:blank',
    title: 'Bad Request',
    status: 400,
    errors: [
      { in: 'body', pointer: '/a', detail: 'a is bad' },
      { in: 'body', pointer: '', detail: 'is invalid' },
    ],
  })
  const coded = { in: 'querystring', instancePath: '/n', message: 'x', params: { code: 'type' } }
  t.strictSame(toProblem({ validation: [coded], validationContext: 'body' }).errors, [
    { in: 'querystring', pointer: '/n', detail: 'x', code: 'type' },
  ])
  const member = fc.oneof(fc.anything(), fc.integer({ min: 100, max: 700 }))
  const names = ['statusCode', 'status', 'message', 'code', 'validation', 'validationContext']
  const thrown = fc.oneof(fc.anything(), fc.dictionary(fc.constantFrom(...names), member))
  fc.assert(
    fc.property(thrown, (error) => {
      const { status, type } = toProblem(error, 'r')
      return type === 'about:blank' && status >= 400 && status <= 599
    }),
    { numRuns: 2000 },
  )
})

await t.test('an invalid header of an error is left out of its response', async (t) => {
  const app = Fastify()
  t.after(() => app.close())
  app.setErrorHandler(problemErrorHandler)
  app.get('/', async () => {
    const headers = { 'retry-after': '7', 'x-bad': 'a\r\nset-cookie: s=1', 'a b': 'x' }
    throw Object.assign(new Error('later'), { statusCode: 429, headers })
  })
  const response = await app.inject('/')
  t.match(response.json(), { status: 429, detail: 'later' })
  t.match(response.headers, { 'retry-after': '7', 'content-type': /problem\+json/ })
  t.notOk('x-bad' in response.headers)
})

await t.test('secrets are compared as bytes, and missing ones equal nothing', (t) => {
  t.equal(secretsEqual('a', 'a'), true)
  t.equal(secretsEqual(Buffer.from('a'), 'a'), true)
  t.equal(secretsEqual('\ud800', '\udfff'), false)
  t.equal(secretsEqual('\ud800', '\ud800'), false)
  t.equal(secretsEqual(undefined, 'a'), false)
  t.equal(secretsEqual(null, ''), false)
  t.end()
})

await t.test('Fastify responds with problem details', async (t) => {
  const app = Fastify({ ajv: { customOptions: { removeAdditional: false } } })
  t.after(() => app.close())
  app.setErrorHandler(problemErrorHandler)
  app.setNotFoundHandler(problemNotFoundHandler)
  const schema = {
    body: {
      type: 'object',
      properties: { age: { type: 'integer', minimum: 0 } },
      required: ['age'],
    },
  }
  app.post('/', { schema }, async () => ({}))
  const closed = { body: { type: 'object', additionalProperties: false } }
  app.post('/closed', { schema: closed }, async () => ({}))
  app.get('/busy', async () => {
    throw Object.assign(new Error('slow down'), {
      statusCode: 429,
      headers: { 'retry-after': '7' },
    })
  })
  const invalid = await app.inject({ method: 'POST', url: '/', payload: { age: -1 } })
  t.equal(invalid.statusCode, 400)
  t.match(invalid.headers['content-type'], /^application\/problem\+json/)
  t.match(invalid.json(), {
    title: 'Bad Request',
    code: 'FST_ERR_VALIDATION',
    requestId: /^req-/,
    errors: [{ in: 'body', pointer: '/age', detail: 'must be >= 0' }],
  })
  const surplus = await app.inject({ method: 'POST', url: '/closed', payload: { surplus: 1 } })
  t.match(surplus.json(), {
    errors: [{ detail: 'must NOT have additional properties: "surplus"' }],
  })
  const busy = await app.inject('/busy')
  t.match(busy, { statusCode: 429, headers: { 'retry-after': '7' } })
  const missing = await app.inject('/nothing?token=secret')
  t.match(missing, { statusCode: 404 })
  t.notMatch(missing.body, /secret|nothing\?/)
})

await t.test('an answer that arrived during a busy spell is no timeout', async (t) => {
  const done = new Int32Array(new SharedArrayBuffer(4))
  const worker = new Worker(
    `const { parentPort, workerData } = require('node:worker_threads')
     parentPort.once('message', () => {
       parentPort.postMessage('answer')
       Atomics.store(workerData, 0, 1)
     })`,
    { eval: true, workerData: done },
  )
  t.after(() => worker.terminate())
  await once(worker, 'online')
  const limited = withDeadline(once(worker, 'message'), 1, () => new Error('late'))
  // In this phase, timers come before messages.
  await new Promise(setImmediate)
  // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a worker, no window
  worker.postMessage('go')
  // Busy until the deadline has passed and the answer waits to be read.
  const deadline = performance.now() + 2
  while (Atomics.load(done, 0) === 0 || performance.now() < deadline);
  t.same(await limited, ['answer'])
  const clock = createManualClock()
  const never = withDeadline(new Promise(() => {}), 1000, () => new Error('late'), clock)
  clock.advance(1000)
  await t.rejects(never, { message: 'late' })
})

await t.test('errors of others are replaced, those of the family are not', async (t) => {
  const replaced = new Error('try again later')
  const run = (error: unknown) =>
    replaceForeignErrors(
      async () => {
        throw error
      },
      (cause) => Object.assign(replaced, { cause }),
    )
  const own = Object.assign(new Error('known'), { code: 'PARAPET_KIT_SQL_TIMEOUT' })
  await t.rejects(run(own), own)
  for (const error of [new Error('db.internal'), { code: 'ECONNREFUSED' }, { code: 5 }, null]) {
    await t.rejects(run(error), { message: replaced.message })
    t.equal(replaced.cause, error)
  }
})
