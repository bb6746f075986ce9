import { runs } from '@parapet/testing'
import t from 'tap'
import { createTestApp, openDatabase, password } from './support/test-app.ts'

const database = await openDatabase(t)

await t.test('the sixth login of an account in a minute is refused', async (t) => {
  const { app, ask, logIn, refuseRequest, verify } = await createTestApp(t, database)
  await ask({}, 'POST', '/api/v1/users', { email: 'a@example.com', displayName: 'A', password })
  await verify('a@example.com')
  for (let attempt = 1; attempt <= 5; attempt++) {
    const answer = await logIn('a@example.com', password)
    t.equal(answer.status, 200)
    t.equal(answer.headers['x-ratelimit-remaining'], String(5 - attempt))
  }
  const refusal = { status: 429, code: 'PARAPET_RATE_LIMITS_EXCEEDED' }
  const payload = { login: 'A@Example.com', password }
  const refused = await refuseRequest(t, refusal, {
    method: 'POST',
    url: '/api/v1/auth/login',
    payload,
  })
  const { retryAfter } = refused.body as { retryAfter: number }
  t.ok(retryAfter >= 1 && retryAfter <= 60)
  t.match(refused.headers, {
    'content-type': /^application\/problem\+json/,
    'retry-after': String(retryAfter),
    'x-ratelimit-limit': '5',
    'x-ratelimit-remaining': '0',
    'x-ratelimit-reset': String(retryAfter),
    'ratelimit-policy': /"auth-60";q=5;w=60, "auth-3600";q=20;w=3600, "auth-address";q=30;w=3600/,
    'x-content-type-options': 'nosniff',
  })
  t.match(refused.body, {
    title: 'Too Many Requests',
    detail: `Rate limit exceeded, retry in ${retryAfter} seconds`,
  })
  await app.audit.flush()
  const { entries } = await app.audit.query({ filters: { action: 'rate_limits.exceeded' } })
  t.equal(entries.length, 1, 'the audit log has a record of it')
})

await t.test('users behind one address log in while an attacker there guesses', async (t) => {
  const { ask, logIn, verify } = await createTestApp(t, database)
  const users = Array.from({ length: runs(6, 50) }, (_, index) => `user-${index}@example.com`)
  for (const email of users) {
    await ask({}, 'POST', '/api/v1/users', { email, displayName: 'User', password })
    await verify(email)
    t.equal((await logIn(email, password)).status, 200)
  }
  const guesses = []
  for (let index = 0; index < 35; index++) {
    guesses.push((await logIn(`name-${index}@example.com`, 'a wrong password')).status)
  }
  t.equal(guesses.filter((status) => status === 401).length, 30)
  t.equal(guesses.at(-1), 429, 'the attacker is refused')
  for (const email of users) t.equal((await logIn(email, password)).status, 200, `${email} is not`)
})

await t.test('every route has a tier, and anonymous requests are counted by address', async (t) => {
  const { app, ask } = await createTestApp(t, database)
  const description = (await ask({}, 'GET', '/openapi.json')).body as {
    paths: Record<string, Record<string, unknown>>
  }
  for (const [path, methods] of Object.entries(description.paths)) {
    for (const method of Object.keys(methods)) {
      const url = path.replaceAll(/\{\w+\}/g, '01a20061-e1c4-7383-8b27-46b6978cb4a4')
      const countOf = () => app.rateLimits.metrics().tiers['standard']!.allowed
      const before = countOf()
      await app.inject({ method: method.toUpperCase() as 'GET', url })
      const isExempt = ['/health', '/ready'].includes(path)
      t.equal(countOf() - before, isExempt ? 0 : 1, `${method} ${path}`)
    }
  }
})
