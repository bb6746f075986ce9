import t from 'tap'
import { buildSite, CROSS_SITE, exchange, FOREIGN, from } from './helpers.ts'

await t.test('an empty or missing Host matches no Origin and no Referer', async (t) => {
  const { app, handled } = await buildSite(t)
  await app.listen({ port: 0, host: '127.0.0.1' })
  const { port } = app.server.address() as { port: number }
  for (const line of ['Origin: null', 'Origin: file://', 'Referer: file:///a', 'Referer: x']) {
    for (const head of ['POST /data HTTP/1.1\r\nHost:', 'POST /data HTTP/1.0']) {
      const { status, body } = await exchange(t, port, `${head}\r\n${line}\r\n\r\n`)
      t.equal(status, 403, `${head} ${line}`)
      t.match(body, CROSS_SITE)
    }
  }
  t.same(handled, [])
})

await t.test('a page of another site cannot open a WebSocket', async (t) => {
  const { ask, handled } = await buildSite(t)
  const upgrade = { host: 'app.example', connection: 'upgrade', upgrade: 'websocket' }
  const refused = await ask('GET', '/data', { ...upgrade, origin: FOREIGN })
  t.same([refused.status, refused.code, handled], [403, CROSS_SITE, []])
  t.equal((await ask('GET', '/data', { ...upgrade, origin: 'https://app.example' })).status, 200)
  t.equal((await ask('GET', '/data', upgrade)).status, 200, 'a client that is not a browser')
})

await t.test('invalid fetch metadata is refused and not copied into events', async (t) => {
  const { ask, events, handled } = await buildSite(t)
  for (const site of ['SAME-ORIGIN', 'same-origin, cross-site', 'x'.repeat(500), '']) {
    const { status, code } = await ask('POST', '/data', from(site, 'cors', 'empty', FOREIGN))
    t.same([status, code], [403, CROSS_SITE], site)
  }
  const { status, code } = await ask('POST', '/hook', from('cross-site', '<script>', 'empty'))
  t.same([status, code, handled], [403, CROSS_SITE, []])
  t.match(events.at(-1), { details: { mode: 'other' } })
})

await t.test('a header value with a line break is never sent', async (t) => {
  const { app } = await buildSite(t)
  app.get('/split', async (_request, reply) =>
    reply.header('x-a', 'b\r\nset-cookie: a=b').send('x'),
  )
  await app.listen({ port: 0, host: '127.0.0.1' })
  const { port } = app.server.address() as { port: number }
  const reply = await fetch(`http://127.0.0.1:${port}/split`)
  t.equal(reply.status, 500)
  t.notOk(reply.headers.has('set-cookie'))
})
