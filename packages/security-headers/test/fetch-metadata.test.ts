import { createManualClock } from '@parapet/kit'
import t from 'tap'
import { buildSite, CROSS_SITE, FOREIGN, from } from './helpers.ts'

/** Twenty ways in which a page of another site can send a request. */
const vectors: [
  name: string,
  method: 'GET' | 'POST',
  mode: string,
  dest: string,
  origin: boolean,
][] = [
  ['form that posts', 'POST', 'navigate', 'document', true],
  ['form that posts text', 'POST', 'navigate', 'document', true],
  ['form in a frame', 'POST', 'navigate', 'iframe', true],
  ['image', 'GET', 'no-cors', 'image', false],
  ['script', 'GET', 'no-cors', 'script', false],
  ['module', 'GET', 'cors', 'script', true],
  ['style', 'GET', 'no-cors', 'style', false],
  ['frame', 'GET', 'navigate', 'iframe', false],
  ['object', 'GET', 'navigate', 'object', false],
  ['embed', 'GET', 'navigate', 'embed', false],
  ['video', 'GET', 'no-cors', 'video', false],
  ['audio', 'GET', 'no-cors', 'audio', false],
  ['font', 'GET', 'cors', 'font', true],
  ['beacon', 'POST', 'no-cors', 'empty', true],
  ['event source', 'GET', 'cors', 'empty', true],
  ['fetch', 'GET', 'cors', 'empty', true],
  ['fetch that posts', 'POST', 'cors', 'empty', true],
  ['fetch without reading', 'POST', 'no-cors', 'empty', true],
  ['prefetch', 'GET', 'no-cors', 'empty', false],
  ['worker', 'GET', 'same-origin', 'worker', false],
]

await t.test('only a followed link is accepted from another site', async (t) => {
  for (const site of ['cross-site', 'same-site'] as const) {
    const { ask, handled, events } = await buildSite(t)
    for (const [name, method, mode, dest, origin] of vectors) {
      const { status, code } = await ask(
        method,
        '/data',
        from(site, mode, dest, origin ? FOREIGN : undefined),
      )
      t.same([status, code], [403, CROSS_SITE], `${site}: ${name}`)
    }
    t.same(handled, [], 'no handler ran')
    const details = { reason: site, site, suppressed: 0 }
    t.match(events, [
      {
        type: 'security_headers.request_isolated',
        severity: 'medium',
        details: { ...details, method: 'POST', mode: 'navigate', dest: 'document' },
      },
      { details: { ...details, method: 'GET', mode: 'no-cors', dest: 'image' } },
    ])
    t.equal(events.length, 2, 'one for each method of the route: the rest is folded')
    t.equal((await ask('GET', '/data', from(site, 'navigate', 'document'))).status, 200)
  }
})

await t.test('requests from this origin, from users and from programs are accepted', async (t) => {
  const { ask, events } = await buildSite(t)
  const accepted: ['GET' | 'POST', Record<string, string>][] = [
    ['POST', from('same-origin', 'cors', 'empty', 'https://app.example')],
    ['POST', from('same-origin', 'navigate', 'document', 'https://app.example')],
    ['GET', from('none', 'navigate', 'document')],
    ['POST', { host: 'app.example' }],
    ['POST', { host: 'app.example', origin: 'https://app.example' }],
    ['POST', { host: 'app.example:8443', origin: 'https://app.example:8443' }],
    ['POST', { host: 'app.example', referer: 'https://app.example/page?a=1' }],
    ['GET', { host: 'app.example', origin: FOREIGN }],
  ]
  for (const [method, headers] of accepted) {
    t.equal((await ask(method, '/data', headers)).status, 200, JSON.stringify(headers))
  }
  t.same(events, [])
})

await t.test(
  'a request without fetch metadata is decided by Origin, then by Referer',
  async (t) => {
    const { ask, handled } = await buildSite(t)
    const refused = [
      { origin: FOREIGN },
      { origin: 'null' },
      { origin: 'nonsense' },
      { origin: '' },
      { origin: 'https://app.example.evil.example' },
      { origin: 'https://app.example:444' },
      { referer: 'https://evil.example/?https://app.example' },
      { referer: 'app.example' },
      { origin: FOREIGN, referer: 'https://app.example/' },
    ]
    for (const headers of refused) {
      const { status, code } = await ask('POST', '/data', {
        host: 'app.example',
        ...headers,
      })
      t.same([status, code], [403, CROSS_SITE], JSON.stringify(headers))
    }
    t.same(handled, [])
  },
)

await t.test('over https, a page of the same host over http is another origin', async (t) => {
  const { ask, handled } = await buildSite(t, {}, { trustProxy: true })
  const headers = { host: 'app.example', 'x-forwarded-proto': 'https' }
  for (const refused of [
    { origin: 'http://app.example' },
    { referer: 'http://app.example/page' },
  ]) {
    const { status, code } = await ask('POST', '/data', { ...headers, ...refused })
    t.same([status, code], [403, CROSS_SITE], JSON.stringify(refused))
  }
  t.same(handled, [])
  for (const accepted of [
    { ...headers, origin: 'https://app.example' },
    { host: 'app.example', origin: 'http://app.example' },
    // The proxy that ends TLS may add no header.
    { host: 'app.example', origin: 'https://app.example' },
  ]) {
    t.equal((await ask('POST', '/data', accepted)).status, 200, JSON.stringify(accepted))
  }
})

await t.test(
  'the config of a route, trusted origins and the scope accept other sites',
  async (t) => {
    const { ask, handled } = await buildSite(t, {
      isolation: { trustedOrigins: ['https://partner.example'] },
    })
    t.equal((await ask('GET', '/badge', from('cross-site', 'no-cors', 'image'))).status, 200)
    const partner = 'https://partner.example'
    t.equal((await ask('POST', '/data', from('cross-site', 'cors', 'empty', partner))).status, 200)
    t.equal((await ask('POST', '/data', { host: 'app.example', origin: partner })).status, 200)
    handled.length = 0
    const image = await ask('GET', '/data', from('cross-site', 'no-cors', 'image'))
    t.same([image.status, image.code], [403, CROSS_SITE], 'an image has no Origin')
    const suffix = `${partner}.evil.example`
    const other = await ask('POST', '/data', from('cross-site', 'cors', 'empty', suffix))
    t.same([other.status, other.code, handled], [403, CROSS_SITE, []])
    const sites = await buildSite(t, { isolation: { scope: 'same-site' } })
    t.equal(
      (await sites.ask('POST', '/data', from('same-site', 'cors', 'empty', FOREIGN))).status,
      200,
    )
    sites.handled.length = 0
    const foreign = await sites.ask('POST', '/data', from('cross-site', 'cors', 'empty', FOREIGN))
    t.same([foreign.status, foreign.code, sites.handled], [403, CROSS_SITE, []])
  },
)

await t.test('behind a trusted proxy, Origin is compared with the forwarded host', async (t) => {
  const trusting = await buildSite(t, {}, { trustProxy: '127.0.0.1' })
  const headers = {
    host: 'inside:3000',
    'x-forwarded-host': 'app.example',
    origin: 'https://app.example',
  }
  t.equal((await trusting.ask('POST', '/data', headers)).status, 200)
  const direct = await buildSite(t)
  const { status, code } = await direct.ask('POST', '/data', headers)
  t.same([status, code], [403, CROSS_SITE], 'without trustProxy the header is ignored')
  t.same(direct.handled, [])
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
