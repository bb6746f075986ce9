import { createManualClock } from '@parapet/kit'
import t from 'tap'
import { createFold } from '../src/fold.ts'
import { buildSite, FOREIGN } from './helpers.ts'

await t.test('repetitions of a key are counted until its window ends', async (t) => {
  const clock = createManualClock(0)
  const fold = createFold({ windowMs: 1000, maxKeys: 10, whenFull: 'suppress' }, clock)
  t.same([fold('a'), fold('a'), fold('b'), fold('a')], [0, null, 0, null])
  clock.advance(1000)
  t.same([fold('a'), fold('b'), fold('a')], [2, 0, null])
})

await t.test('many keys cause no more events than the limit, and no count is lost', async (t) => {
  const clock = createManualClock(0)
  const fold = createFold({ windowMs: 1000, maxKeys: 100, whenFull: 'suppress' }, clock)
  let emitted = 0
  let counted = 0
  for (let index = 0; index < 10_000; index++) {
    const suppressed = fold(`key ${index}`)
    if (suppressed !== null) {
      emitted++
      counted += 1 + suppressed
    }
  }
  t.equal(emitted, 100)
  clock.advance(1000)
  counted += 1 + (fold('the next') ?? 0)
  t.equal(counted, 10_001)
})

await t.test('with evict, a new key is never suppressed', async (t) => {
  const fold = createFold({ windowMs: 1000, maxKeys: 2, whenFull: 'evict' }, createManualClock(0))
  t.same([fold('a'), fold('b'), fold('b'), fold('c'), fold('d')], [0, 0, null, 0, 1])
})

await t.test('a flood of refused requests is one event a minute for each client', async (t) => {
  const clock = createManualClock(0)
  const csrf = { secret: 'a secret of at least 32 characters' }
  const { app, events, handled } = await buildSite(t, { clock, csrf }, { trustProxy: true })
  const post = (client: string, headers: Record<string, string>) =>
    app.inject({
      method: 'POST',
      url: '/data',
      headers: { host: 'app.example', 'x-forwarded-for': client, ...headers },
    })
  for (const headers of [{ origin: FOREIGN }, { cookie: 'a=1' }]) {
    for (let index = 0; index < 100; index++) {
      t.equal((await post('192.0.2.1', headers)).statusCode, 403)
    }
    await post('192.0.2.2', headers)
    clock.advance(60_000)
    await post('192.0.2.1', headers)
  }
  t.same(handled, [])
  t.same(
    events.map(({ type, ip, details }) => [
      type,
      ip,
      (details as { suppressed: number }).suppressed,
    ]),
    ['request_isolated', 'token_refused'].flatMap((type) => [
      [`security_headers.${type}`, '192.0.2.1', 0],
      [`security_headers.${type}`, '192.0.2.2', 0],
      [`security_headers.${type}`, '192.0.2.1', 99],
    ]),
  )
})
