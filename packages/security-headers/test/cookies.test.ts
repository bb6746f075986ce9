import fastifyCookie from '@fastify/cookie'
import type { SecurityEvent } from '@parapet/kit'
import t from 'tap'
import { build, nextMonth } from './helpers.ts'

await t.test('a weak cookie emits one event, and fails the response in strict mode', async (t) => {
  for (const mode of ['report', 'strict', 'off'] as const) {
    const waivers = [
      { rule: 'COOKIE-AUDIT-OFF', reason: 'this test switches it off', until: nextMonth() },
    ]
    const app = await build(t, {
      cookies: { mode, readable: ['theme'] },
      ...(mode === 'off' ? { waivers } : {}),
    })
    await app.register(fastifyCookie)
    const events: SecurityEvent[] = []
    app.securityEvents.on('*', (event) => void events.push(event))
    app.get('/weak', async (_request, reply) => reply.setCookie('sid', 'hunter2').send('x'))
    app.get('/logout', async (_request, reply) =>
      reply.clearCookie('sid').header('set-cookie', 'a=; Max-Age=0').send('x'),
    )
    app.get('/good', async (_request, reply) =>
      reply
        .setCookie('__Host-sid', 'a', { path: '/', secure: true, httpOnly: true, sameSite: 'lax' })
        .setCookie('theme', 'dark', { path: '/', secure: true, sameSite: 'strict' })
        .send('x'),
    )
    const weak = mode === 'strict' ? 500 : 200
    t.equal((await app.inject('/weak')).statusCode, weak, mode)
    const again = await app.inject('/weak')
    t.equal(again.statusCode, weak, mode)
    if (mode === 'strict') {
      t.equal(again.json<{ code: string }>().code, 'PARAPET_SECURITY_HEADERS_WEAK_COOKIE')
      t.notOk('set-cookie' in again.headers)
    }
    t.equal((await app.inject('/good')).statusCode, 200)
    t.equal((await app.inject('/logout')).statusCode, 200, 'a deleted cookie needs no attributes')
    const details = { cookie: 'sid', faults: ['no Secure', 'no HttpOnly'] }
    t.match(events, mode === 'off' ? [] : [{ type: 'security_headers.cookie_flagged', details }])
    t.equal(events.length, mode === 'off' ? 0 : 1)
    t.notMatch(JSON.stringify(events), /hunter2/)
  }
})
