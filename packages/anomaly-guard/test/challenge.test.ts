import { existsSync } from 'node:fs'
import { createManualClock, createMemoryStore } from '@parapet/kit'
import { anomalyGuard } from '@parapet/anomaly-guard'
import { solveChallenge, type Challenge } from 'altcha-lib'
import { deriveKey } from 'altcha-lib/algorithms/pbkdf2'
import Fastify from 'fastify'
import { chromium } from 'playwright-core'
import t, { type Test } from 'tap'
import { localPath, renderPage } from '../src/challenge/page.ts'
import { createPasses } from '../src/challenge/pass.ts'
import { build, type Built } from './support.ts'

const difficulty = 4
const by = 'op'
const html = { accept: 'text/html,application/xhtml+xml' }

const encode = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64')

async function solve(challenge: Challenge): Promise<string> {
  const solution = await solveChallenge({ challenge, deriveKey })
  return Buffer.from(JSON.stringify({ challenge, solution })).toString('base64')
}

async function challenged(t: Test, address = '192.0.2.7'): Promise<Built> {
  const built = await build(t, { challenge: { difficulty } })
  await built.app.anomaly.contain.challenge(address, { reason: 'test', by })
  return built
}

const fetchChallenge = async ({ send }: Built, address = '192.0.2.7'): Promise<Challenge> =>
  (await send('/challenge/new', address)).json<Challenge>()

const answer = ({ send }: Built, altcha: string, address = '192.0.2.7', headers = {}) =>
  send('/challenge/answer', address, {
    method: 'POST',
    headers: { 'content-type': 'application/x-www-form-urlencoded', ...headers },
    payload: new URLSearchParams({ altcha, next: '/items/5?x=1' }).toString(),
  })

await t.test('a challenged client is sent to the page, and passes with the answer', async (t) => {
  const built = await challenged(t)
  const { send, handled, clock, eventsOf } = built
  const refused = await send('/items/5?x=1', '192.0.2.7')
  t.equal(refused.statusCode, 428)
  t.equal(refused.json<{ code: string }>().code, 'PARAPET_ANOMALY_GUARD_CHALLENGE_REQUIRED')
  t.equal(refused.headers['location'], '/challenge?next=%2Fitems%2F5%3Fx%3D1')
  const page = await send('/items/5?x=1', '192.0.2.7', { headers: html })
  t.equal(page.statusCode, 428)
  t.match(page.body, /<html lang="en">[^]*role="status"[^]*<noscript>/)
  t.match(page.headers['content-security-policy'], /default-src 'none'/)
  t.equal((await send('/', '192.0.2.8')).statusCode, 200, 'another client')
  t.equal((await send('/health', '192.0.2.7')).statusCode, 200, 'an open route')
  t.same(handled.splice(0), ['/', '/health'])

  const payload = await solve(await fetchChallenge(built))
  const reply = await answer(built, payload)
  t.equal(reply.statusCode, 200)
  const { pass } = reply.json<{ pass: string }>()
  t.match(reply.headers['set-cookie'], /^challenge-pass=[\w.-]+; Path=\/; Max-Age=3600; HttpOnly/)
  const withPass = (address: string, headers: Record<string, string>) =>
    send('/', address, { headers })
  const header = { 'challenge-pass': pass }
  t.equal((await withPass('192.0.2.7', header)).statusCode, 200, 'as a header')
  t.equal((await withPass('192.0.2.7', { cookie: `challenge-pass=${pass}` })).statusCode, 200)
  t.equal((await withPass('192.0.2.7', { 'challenge-pass': `${pass}x` })).statusCode, 428)
  t.match(eventsOf('anomaly_guard.challenge_answered'), [{ outcome: 'success' }])

  await built.app.anomaly.contain.challenge('192.0.2.9', { reason: 'test', by })
  t.equal((await withPass('192.0.2.9', header)).statusCode, 428, 'not from another address')
  clock.advance(1)
  await built.app.anomaly.contain.challenge('192.0.2.7', { reason: 'again', by })
  t.equal(
    (await withPass('192.0.2.7', header)).statusCode,
    428,
    'a pass from before does not count',
  )
  t.equal(handled.length, 2)
})

await t.test('a solved challenge lets a bounded number of requests pass', async (t) => {
  const built = await build(t, { challenge: { difficulty, passRequests: 3 } })
  const { app, clock, send, handled } = built
  await app.anomaly.contain.challenge('192.0.2.7', { reason: 'test', by })
  const solveOne = async () =>
    (await answer(built, await solve(await fetchChallenge(built)))).json<{ pass: string }>().pass
  const ask = async (pass: string, url = '/') =>
    (await send(url, '192.0.2.7', { headers: { 'challenge-pass': pass } })).statusCode
  const first = await solveOne()
  t.equal(await ask(first, '/health'), 200, 'an open route spends nothing')
  t.equal(await ask(first, '/challenge'), 200, 'nor does the page')
  t.same(
    [await ask(first), await ask(first), await ask(first), await ask(first), await ask(first)],
    [200, 200, 200, 428, 428],
  )
  t.equal(handled.length, 4)
  clock.advance(1)
  const second = await solveOne()
  t.same([await ask(second), await ask(first)], [200, 428], 'a new answer has a new budget')
  await t.rejects(build(t, { challenge: { passRequests: 0 } }), {
    code: 'PARAPET_ANOMALY_GUARD_INVALID_OPTION',
  })
})

await t.test('one request spends one of its pass, wherever the pass is asked for', async (t) => {
  const clock = createManualClock()
  const app = Fastify()
  t.after(() => app.close())
  await app.register(anomalyGuard, {
    mode: 'enforce',
    behaviour: { enabled: false },
    challenge: { difficulty, passRequests: 2 },
    clock,
  })
  const asked: boolean[] = []
  app.post('/login', { config: { anomaly: { account: () => 'bob' } } }, async (request) => {
    asked.push(request.anomaly.isUnderAttack('login', { account: 'bob' }))
    return {}
  })
  app.post('/fail', async (request) => request.anomaly.fail('login', { account: 'bob' }))
  const post = (url: string, remoteAddress: string, headers = {}) =>
    app.inject({ method: 'POST', url, remoteAddress, headers })
  for (let host = 1; host < 10; host++) await post('/fail', `198.51.100.${host}`)
  await app.anomaly.contain.challenge('192.0.2.8', { reason: 'test', by })
  t.equal((await post('/login', '192.0.2.8')).statusCode, 428)
  const created = await app.inject({ url: '/challenge/new', remoteAddress: '192.0.2.8' })
  const altcha = await solve(created.json<Challenge>())
  const solved = await app.inject({
    method: 'POST',
    url: '/challenge/answer',
    remoteAddress: '192.0.2.8',
    headers: { 'content-type': 'application/x-www-form-urlencoded' },
    payload: new URLSearchParams({ altcha }).toString(),
  })
  const headers = { 'challenge-pass': solved.json<{ pass: string }>().pass }
  const statuses: number[] = []
  for (let index = 0; index < 3; index++) {
    statuses.push((await post('/login', '192.0.2.8', headers)).statusCode)
  }
  t.same(statuses, [200, 200, 428])
  t.same(asked, [false, false])
})

await t.test('an answer counts once, for its client, in its time', async (t) => {
  const built = await challenged(t)
  const { clock } = built
  const refused = async (name: string, reply: Awaited<ReturnType<typeof answer>>) => {
    t.equal(reply.statusCode, 400, name)
    t.equal(reply.json<{ code: string }>().code, 'PARAPET_ANOMALY_GUARD_CHALLENGE_FAILED', name)
    t.equal(reply.headers['set-cookie'], undefined, name)
  }
  const payload = await solve(await fetchChallenge(built))
  await refused('of another client', await answer(built, payload, '192.0.2.8'))
  t.equal((await answer(built, payload)).statusCode, 200)
  await refused('twice', await answer(built, payload))

  const again = await solve(await fetchChallenge(built))
  const replies = await Promise.all(Array.from({ length: 8 }, () => answer(built, again)))
  t.equal(replies.filter(({ statusCode }) => statusCode === 200).length, 1, 'of 8 at once, one')
  clock.advance(61_000)

  const challenge = await fetchChallenge(built)
  const right = JSON.parse(Buffer.from(await solve(challenge), 'base64').toString()) as {
    challenge: Challenge
    solution: object
  }
  const easier = structuredClone(right)
  easier.challenge.parameters.cost = 1
  const forgeries: Record<string, string> = {
    'no base64': '!!',
    'no answer': encode(null),
    'no solution': encode({ challenge }),
    'a wrong key': encode({ challenge, solution: { counter: 1, derivedKey: '00'.repeat(32) } }),
    'an easier challenge': encode(easier),
    'no signature': encode({ ...right, challenge: { parameters: challenge.parameters } }),
    long: 'A'.repeat(4096),
  }
  for (const [name, forged] of Object.entries(forgeries)) {
    await refused(name, await answer(built, forged))
  }
  clock.advance(600_001)
  await refused('too late', await answer(built, encode(right)))
})

await t.test('a form is sent back to where it came from, or to the page', async (t) => {
  const built = await challenged(t)
  const good = await answer(built, await solve(await fetchChallenge(built)), '192.0.2.7', html)
  t.equal(good.statusCode, 303)
  t.equal(good.headers['location'], '/items/5?x=1')
  t.ok(good.headers['set-cookie'])
  const bad = await answer(built, 'x', '192.0.2.7', html)
  t.equal(bad.statusCode, 303)
  t.equal(bad.headers['location'], '/challenge?failed=1&next=%2Fitems%2F5%3Fx%3D1')
  const page = await built.send(String(bad.headers['location']), '192.0.2.7')
  t.equal(page.statusCode, 200)
  t.match(page.body, /role="alert"/)
  const https = await answer(built, await solve(await fetchChallenge(built)), '192.0.2.7', {
    'x-forwarded-proto': 'https',
  })
  t.match(https.headers['set-cookie'], /^__Host-challenge-pass=.*; Secure$/)
})

await t.test('a client that asks for challenge after challenge is slowed down', async (t) => {
  const built = await challenged(t)
  for (let asked = 0; asked < 20; asked++) {
    t.equal((await built.send('/challenge/new', '192.0.2.7')).statusCode, 200)
  }
  const refused = await built.send('/challenge/new', '192.0.2.7')
  t.equal(refused.statusCode, 429)
  t.equal(refused.json<{ code: string }>().code, 'PARAPET_ANOMALY_GUARD_TIGHTENED')
  t.equal((await built.send('/challenge/new', '192.0.2.8')).statusCode, 200)
})

await t.test('the guard challenges where a block could hit an innocent client', async (t) => {
  const { app, failLogin, send } = await build(t, {
    challenge: { difficulty },
    contain: { minBlocked: 2, maxBlockedRatio: 0 },
  })
  for (let attempt = 0; attempt < 9; attempt++) await failLogin(`192.0.2.${attempt}`, 'bob')
  t.equal((await send('/', '192.0.2.8')).statusCode, 428, 'one of many addresses on one account')
  t.equal((await send('/', '192.0.2.1')).statusCode, 200)
  for (const address of ['198.51.100.1', '198.51.100.2', '198.51.100.3']) {
    for (let attempt = 0; attempt < 5; attempt++) await failLogin(address, address)
  }
  await app.anomaly.settle()
  const statuses = await Promise.all(
    ['198.51.100.1', '198.51.100.2', '198.51.100.3'].map((address) => send('/', address)),
  )
  t.same(
    statuses.map(({ statusCode }) => statusCode),
    [403, 403, 428],
    'beyond the cap it challenges',
  )
})

await t.test('while the store fails, an answer still counts once on this instance', async (t) => {
  const clock = createManualClock()
  const store = createMemoryStore({ clock })
  const built = await build(t, { challenge: { difficulty }, store, clock })
  await built.app.anomaly.contain.challenge('192.0.2.7', { reason: 'test', by })
  const payload = await solve(await fetchChallenge(built))
  await store.close()
  t.equal((await answer(built, payload)).statusCode, 200)
  t.equal((await answer(built, payload)).statusCode, 400)
})

await t.test('only a path of this service is gone on to', (t) => {
  const bad = [
    '//evil.example',
    '/..//evil.example',
    '/.//evil.example',
    '/\\evil.example',
    '/\t/evil.example',
    'https://evil.example',
    '',
    5,
  ]
  for (const next of [...bad, undefined, `/${'x'.repeat(2001)}`, 'items'])
    t.equal(localPath(next), '/')
  t.equal(localPath('/items/5?x=1#top'), '/items/5?x=1')
  t.equal(localPath('/a/../b'), '/b')
  const page = renderPage(
    { widget: 'w', script: 's', style: 'c', challenge: 'n', answer: 'a' },
    '/"><script>alert(1)</script>',
    false,
  )
  t.notMatch(page, /<script>alert/)
  t.end()
})

await t.test('a pass is refused when it is old, from the future or malformed', (t) => {
  const clock = createManualClock()
  const passes = createPasses(Buffer.alloc(32), 1000, clock)
  const pass = passes.issue('a')
  t.equal(passes.isValid(pass, 'a', 0), true)
  for (const text of ['', '.', `${pass}.`, pass.toUpperCase(), 'x'.repeat(5000)]) {
    t.equal(passes.isValid(text, 'a', 0), false, text.slice(0, 20))
  }
  t.equal(createPasses(Buffer.alloc(32, 1), 1000, clock).isValid(pass, 'a', 0), false)
  clock.advance(1000)
  t.equal(passes.isValid(pass, 'a', 0), false)
  clock.advance(-20_000)
  t.equal(passes.isValid(pass, 'a', 0), false)
  t.end()
})

await t.test('a browser solves the challenge by itself and goes on', async (t) => {
  const executablePath = '/usr/bin/chromium'
  if (!existsSync(executablePath)) {
    if (process.env['PARAPET_REQUIRE_SERVICES'] === '1') t.fail('no chromium: install it')
    else t.pass('needs chromium', { skip: 'no chromium' })
    return
  }
  const app = Fastify()
  t.after(() => app.close())
  await app.register(anomalyGuard, { challenge: { difficulty: 20, prefix: '/check' } })
  app.get('/shop', async (_request, reply) => reply.type('text/html').send('<h1>The shop</h1>'))
  await app.listen({ port: 0, host: '127.0.0.1' })
  await app.anomaly.contain.challenge('127.0.0.1', { reason: 'test', by })
  const browser = await chromium.launch({ executablePath, args: ['--no-sandbox'] })
  t.after(() => browser.close())
  const page = await browser.newPage()
  const problems: string[] = []
  page.on('console', (message) => {
    // The page itself has the status 428, and there is no icon.
    const isExpected = /status of (428|404)/.test(message.text())
    if (message.type() === 'error' && !isExpected) problems.push(message.text())
  })
  page.on('pageerror', (error) => problems.push(error.message))
  const { port } = app.server.address() as { port: number }
  // The answer waits until the page was looked at.
  const waiting: (() => void)[] = []
  const looked = new Promise<void>((resolve) => void waiting.push(resolve))
  await page.route('**/check/answer', async (route) => {
    await looked
    await route.continue()
  })
  const first = await page.goto(`http://127.0.0.1:${port}/shop?item=5`)
  t.equal(first?.status(), 428)
  t.equal(await page.locator('main h1').textContent(), 'One moment, please')
  waiting[0]!()
  await page.waitForURL(/\/shop\?item=5$/)
  await page.locator('h1:text("The shop")').waitFor()
  t.same(problems, [], 'no error, and nothing that the policy had to refuse')
  const again = await page.goto(`http://127.0.0.1:${port}/shop`)
  t.equal(again?.status(), 200, 'the pass is kept')
})
