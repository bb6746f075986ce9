/**
 * Outgoing requests reach public addresses only. The connector of these tests records where it would connect and
 * opens no socket, or it connects to a server on 127.0.0.1.
 */
import { once } from 'node:events'
import { createServer, type IncomingMessage, type RequestListener } from 'node:http'
import { connect, type AddressInfo } from 'node:net'
import { gzipSync } from 'node:zlib'
import { createSafeFetch, type ConnectTarget, type FetchOptions } from '@parapet/input-guard'
import t, { type Test } from 'tap'
import { isPublicAddress } from '../src/outgoing/address-rules.ts'
import { build } from './helpers.ts'

const FORBIDDEN = 'PARAPET_INPUT_GUARD_URL_FORBIDDEN'
const FAILED = 'PARAPET_INPUT_GUARD_FETCH_FAILED'

/** A fetch whose connector records its targets and refuses to connect. */
function recording(
  names: Readonly<Record<string, readonly string[]>> = {},
  options: FetchOptions = {},
) {
  const targets: ConnectTarget[] = []
  const asked: string[] = []
  const fetch = createSafeFetch({
    schemes: ['http', 'https'],
    ports: [80, 443, 8080],
    lookup: async (host) => {
      asked.push(host)
      const found = names[host]
      if (found === undefined) throw new Error('no such host')
      return found.map((address) => ({ address, family: address.includes(':') ? 6 : 4 }))
    },
    connect: async (target) => {
      targets.push(target)
      throw new Error('recorded')
    },
    ...options,
  })
  return { fetch, targets, asked }
}

/** A server on 127.0.0.1 that plays every public host. */
async function serve(t: Test, listener: RequestListener, options: FetchOptions = {}) {
  const requests: IncomingMessage[] = []
  const server = createServer((request, response) => {
    requests.push(request)
    listener(request, response)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.after(() => {
    server.closeAllConnections()
    server.close()
  })
  const { port } = server.address() as AddressInfo
  const targets: string[] = []
  const fetch = createSafeFetch({
    schemes: ['http', 'https'],
    lookup: async (host) => [
      { address: host.includes('private') ? '10.0.0.1' : '93.184.215.14', family: 4 },
    ],
    connect: async ({ host, address }) => {
      targets.push(`${host} ${address}`)
      const socket = connect(port, '127.0.0.1')
      await once(socket, 'connect')
      return socket
    },
    ...options,
  })
  return { fetch, requests, targets }
}

await t.test('global unicast addresses are public, all others are not', async (t) => {
  const open = [
    '93.184.215.14',
    '1.1.1.1',
    '8.8.8.8',
    '2606:4700::1111',
    '2a00:1450:4001::1',
    '::ffff:8.8.8.8',
    '64:ff9b::8.8.8.8',
    '2002:808:808::1',
    '2a00::5efe:808:808',
  ]
  for (const address of open) t.equal(isPublicAddress(address), true, address)
  const closed = [
    '127.0.0.1',
    '127.1.2.3',
    '10.0.0.1',
    '172.16.0.1',
    '172.31.255.255',
    '192.168.1.1',
    '169.254.169.254',
    '100.64.0.1',
    '100.100.100.200',
    '0.0.0.0',
    '0.1.2.3',
    '192.0.0.192',
    '192.0.2.1',
    '198.18.0.1',
    '198.51.100.1',
    '203.0.113.1',
    '224.0.0.1',
    '240.0.0.1',
    '255.255.255.255',
    '168.63.129.16',
    '192.88.99.1',
    '::',
    '::1',
    '::7f00:1',
    '::a9fe:a9fe',
    '::ffff:127.0.0.1',
    '::ffff:a9fe:a9fe',
    '::ffff:0:127.0.0.1',
    '64:ff9b::7f00:1',
    '64:ff9b::169.254.169.254',
    '64:ff9b:1::1',
    '2002:7f00:1::',
    '2002:a9fe:a9fe::1',
    '2001::1',
    '2001:db8::1',
    'fc00::1',
    'fd00:ec2::254',
    'fe80::1',
    'fe80::1%eth0',
    '2a00::5efe:a9fe:a9fe',
    '2a00::200:5efe:7f00:1',
    'ff02::1',
    'fec0::1',
    '100::1',
    '5f00::1',
    '4000::1',
    '',
    'localhost',
    '0x7f.1',
    '127.1',
    '2130706433',
    '0177.0.0.1',
    '::ffff:7f00:1%lo',
  ]
  for (const address of closed) t.equal(isPublicAddress(address), false, address)
})

/** URLs of loopback, link-local, metadata and private hosts, in the notations that parsers accept. */
function hostileUrls(): string[] {
  const v4 = [
    [127, 0, 0, 1],
    [169, 254, 169, 254],
    [10, 0, 0, 1],
    [192, 168, 0, 1],
    [172, 16, 0, 1],
    [0, 0, 0, 0],
    [100, 100, 100, 200],
    [168, 63, 129, 16],
    [192, 0, 0, 192],
  ]
  const hosts = v4.flatMap((bytes) => {
    const [a, b, c, d] = bytes as [number, number, number, number]
    const number = ((a << 24) | (b << 16) | (c << 8) | d) >>> 0
    const hex = number.toString(16).padStart(8, '0')
    const dotted = bytes.join('.')
    const [high, low] = [hex.slice(0, 4), hex.slice(4)]
    return [
      dotted,
      `${dotted}.`,
      String(number),
      `0x${hex}`,
      `0${number.toString(8)}`,
      bytes.map((byte) => `0${byte.toString(8)}`).join('.'),
      bytes.map((byte) => `0x${byte.toString(16)}`).join('.'),
      bytes.map((byte) => `000${byte.toString(8).padStart(3, '0')}`).join('.'),
      `${a}.${(b << 16) | (c << 8) | d}`,
      `${a}.${b}.${(c << 8) | d}`,
      `0x${a.toString(16)}.${(b << 16) | (c << 8) | d}`,
      Array.from(dotted)
        .map((digit) => (digit === '.' ? '。' : String.fromCodePoint(0xff10 + Number(digit))))
        .join(''),
      Array.from(dotted)
        .map((digit) => (digit === '.' ? digit : `%${digit.charCodeAt(0).toString(16)}`))
        .join(''),
      `[::ffff:${dotted}]`,
      `[::ffff:${high}:${low}]`,
      `[::${dotted}]`,
      `[::${high}:${low}]`,
      `[0:0:0:0:0:0:${high}:${low}]`,
      `[64:ff9b::${high}:${low}]`,
      `[2002:${high}:${low}::]`,
      `[2002:${high}:${low}::1]`,
      `[::ffff:0:${high}:${low}]`,
    ]
  })
  const names = [
    'localhost',
    'LOCALHOST',
    'localhost.',
    'a.localhost',
    'ｌｏｃａｌｈｏｓｔ',
    'printer.local',
    'db.internal',
    'metadata.google.internal',
    'metadata',
    'router.lan',
    'x.home.arpa',
    'a.test',
    'onion.onion',
    '[::1]',
    '[::]',
    '[fe80::1]',
    '[fd00:ec2::254]',
    '[ff02::1]',
    '[2001:db8::1]',
    '[2001::1]',
  ]
  return [...hosts, ...names].flatMap((host) => [
    `http://${host}/`,
    `https://${host}:8080/latest/meta-data`,
  ])
}

await t.test('no notation of a private address opens a connection', async (t) => {
  const { fetch, targets, asked } = recording({ 'metadata.google.internal': ['8.8.8.8'] })
  const urls = hostileUrls()
  t.ok(urls.length > 400, `${urls.length} URLs`)
  const codes = new Set<string>()
  for (const url of urls) {
    await fetch(url).then(
      () => t.fail(`${url} was requested`),
      ({ code }: { code: string }) => codes.add(code),
    )
  }
  t.same([...codes], [FORBIDDEN])
  t.same([targets, asked], [[], []], 'no connection, and no name was resolved')
})

await t.test(
  'schemes, ports, credentials and hosts are checked before the name is resolved',
  async (t) => {
    const { fetch, targets, asked } = recording(
      {},
      { schemes: ['https'], allowHosts: ['api.example.com', '*.cdn.example.com'], ports: [443] },
    )
    for (const url of [
      'file:///etc/passwd',
      'gopher://api.example.com',
      'data:text/plain,x',
      'http://api.example.com',
      'https://api.example.com:22',
      'https://u:p@api.example.com',
      'https://example.com',
      'https://api.example.com.evil.com',
      'https://cdn.example.com',
      'nonsense',
      '',
    ]) {
      await t.rejects(fetch(url), { code: FORBIDDEN, statusCode: 400 }, url)
    }
    t.same([targets, asked], [[], []])
  },
)

await t.test(
  'every address of a name must be public, and the one that was checked is used',
  async (t) => {
    const { fetch, targets, asked } = recording({
      'rebind.example.com': ['93.184.215.14', '169.254.169.254'],
      'private.example.com': ['10.0.0.1'],
      'mapped.example.com': ['::ffff:127.0.0.1'],
      'good.example.com': ['93.184.215.14', '2606:4700::1111'],
      'none.example.com': [],
      'odd.example.com': ['127.1'],
    })
    for (const name of ['rebind', 'private', 'mapped', 'odd']) {
      await t.rejects(fetch(`https://${name}.example.com`), { code: FORBIDDEN }, name)
    }
    t.same(targets, [])
    for (const name of ['none', 'missing']) {
      await t.rejects(fetch(`https://${name}.example.com`), { code: FAILED, statusCode: 503 }, name)
    }
    await t.rejects(fetch('https://good.example.com./x'), { code: FAILED })
    t.match(targets, [
      { address: '93.184.215.14', family: 4, host: 'good.example.com', port: 443, isTls: true },
    ])
    await t.rejects(fetch('http://8.8.8.8:8080/'), { code: FAILED })
    t.match(targets[1], { address: '8.8.8.8', port: 8080, isTls: false })
    t.notOk(asked.includes('8.8.8.8'), 'an address is not resolved')
  },
)

await t.test(
  'a name that resolves to another address for the second request is refused',
  async (t) => {
    let calls = 0
    const { fetch, targets } = await serve(t, (_request, response) => response.end('ok'), {
      lookup: async () => [{ address: calls++ === 0 ? '93.184.215.14' : '127.0.0.1', family: 4 }],
    })
    t.equal(await (await fetch('http://rebind.example.com')).text(), 'ok')
    await t.rejects(fetch('http://rebind.example.com'), { code: FORBIDDEN })
    t.equal(targets.length, 1)
  },
)

/** Headers that carry credentials or a URL, and one that nobody knows. */
const SECRETS = [
  'x-auth-token',
  'private-token',
  'api-key',
  'x-amz-security-token',
  'x-csrf-token',
  'proxy-authorization',
  'x-vault-token',
  'x-anything',
  'referer',
]

const to = (target: string) => `http://a.example.com/?to=${encodeURIComponent(target)}`

await t.test('each redirect is checked, and another origin gets no credentials', async (t) => {
  const { fetch, requests, targets } = await serve(t, ({ url, headers }, response) => {
    const location = new URL(url!, `http://${headers.host}`).searchParams.get('to')
    if (location === null) return response.end('done')
    return response.writeHead(302, { location }).end()
  })
  const credentials = {
    headers: {
      authorization: 'Bearer x',
      cookie: 'a=b',
      'x-api-key': 'k',
      accept: 'text/plain',
      'user-agent': 'me',
      ...Object.fromEntries(SECRETS.map((name) => [name, 'secret'])),
    },
  }
  const same = await fetch(to('/next'), credentials)
  t.equal(await same.text(), 'done')
  t.match(requests[1]!.headers, { authorization: 'Bearer x', cookie: 'a=b' })
  const other = await fetch(to('http://b.example.com/'), credentials)
  t.equal(await other.text(), 'done')
  const { authorization, cookie, accept, host } = requests[3]!.headers
  t.same(
    [authorization, cookie, requests[3]!.headers['x-api-key'], accept, host],
    [undefined, undefined, undefined, 'text/plain', 'b.example.com'],
  )
  t.equal(requests[3]!.headers['user-agent'], 'me')
  t.notMatch(JSON.stringify(requests[3]!.rawHeaders), /secret/)
  t.match([other.url, other.redirected], ['http://b.example.com/', true])
  const before = targets.length
  for (const target of [
    'http://127.0.0.1/',
    'http://[::1]/',
    'http://private.example.com/',
    'file:///etc/passwd',
    'http://2130706433/',
    '//localhost/',
    'http://u:p@b.example.com/',
  ]) {
    await t.rejects(fetch(to(target)), { code: FORBIDDEN }, target)
  }
  t.ok(targets.slice(before).every((each) => each.startsWith('a.example.com')))
  await t.rejects(fetch(to(to(to(to(to(to(to('/x')))))))), {
    code: FAILED,
    message: /too many redirects/,
  })
})

await t.test('methods and bodies follow redirects as in browsers', async (t) => {
  const { fetch, requests } = await serve(t, ({ url }, response) => {
    const status = Number(url!.slice(1))
    if (status === 0) return response.end()
    return response.writeHead(status, { location: '/0' }).end()
  })
  const results: string[] = []
  for (const [status, method] of [
    [303, 'POST'],
    [301, 'POST'],
    [307, 'POST'],
    [303, 'PUT'],
    [302, 'PUT'],
  ] as const) {
    const body = 'x=1'
    await (
      await fetch(`http://a.example.com/${status}`, {
        method,
        body,
        headers: { 'content-type': 'text/plain' },
      })
    ).text()
    const last = requests.at(-1)!
    results.push(
      `${status} ${method} → ${last.method} ${last.headers['content-type']} ${last.headers['content-length']}`,
    )
  }
  t.same(results, [
    '303 POST → GET undefined undefined',
    '301 POST → GET undefined undefined',
    '307 POST → POST text/plain 3',
    '303 PUT → GET undefined undefined',
    '302 PUT → PUT text/plain 3',
  ])
})

await t.test('a body is never sent to another origin', async (t) => {
  const { fetch, requests } = await serve(t, ({ url }, response) => {
    const status = Number(url!.slice(1))
    if (status === 0) return response.end('done')
    return response.writeHead(status, { location: 'http://b.example.com/0' }).end()
  })
  for (const [status, method] of [
    [307, 'POST'],
    [308, 'PUT'],
    [302, 'PUT'],
  ] as const) {
    const sent = fetch(`http://a.example.com/${status}`, { method, body: 'password=x' })
    await t.rejects(sent, { code: FORBIDDEN, message: /its body to another origin/ })
  }
  t.equal(requests.filter(({ headers }) => headers.host === 'b.example.com').length, 0)
  const response = await fetch('http://a.example.com/303', { method: 'POST', body: 'x=1' })
  t.equal(await response.text(), 'done')
  t.match([requests.at(-1)!.method, requests.at(-1)!.headers['content-length']], ['GET', undefined])
})

await t.test('a redirect from https to http is refused', async (t) => {
  const { fetch } = await serve(t, (_request, response) =>
    response.writeHead(302, { location: 'http://a.example.com/' }).end(),
  )
  // The server of the test has no TLS, so the connector speaks HTTP for an https URL.
  await t.rejects(fetch('https://a.example.com/'), { code: FORBIDDEN })
})

await t.test('the size and the time of a response are limited', async (t) => {
  const { fetch } = await serve(
    t,
    ({ url }, response) => {
      if (url === '/length') return response.setHeader('content-length', 2000).end('x'.repeat(2000))
      if (url === '/chunks') {
        for (let i = 0; i < 20; i++) response.write('x'.repeat(100))
        return response.end()
      }
      if (url === '/gzip')
        return response
          .writeHead(200, { 'content-encoding': 'gzip' })
          .end(gzipSync('x'.repeat(100_000)))
      if (url === '/small') return response.end('small')
      if (url === '/none') return response.writeHead(204).end()
      if (url === '/slow') return response.writeHead(200).write('x')
      // '/never': no answer.
      return undefined
    },
    { maxBytes: 1000, timeoutMs: 300 },
  )
  t.equal(await (await fetch('http://a.example.com/small')).text(), 'small')
  t.equal((await fetch('http://a.example.com/none')).status, 204)
  await t.rejects(fetch('http://a.example.com/length'), { code: FAILED, message: /too large/ })
  for (const path of ['chunks', 'gzip']) {
    const response = await fetch(`http://a.example.com/${path}`)
    await t.rejects(response.text(), { code: FAILED, message: /too large/ }, path)
  }
  await t.rejects(fetch('http://a.example.com/never'), { code: FAILED, message: /in time/ })
  const slow = await fetch('http://a.example.com/slow')
  await t.rejects(slow.text(), { code: FAILED, statusCode: 503, message: /in time/ }, 'a slow body')
  const head = await fetch('http://a.example.com/length', { method: 'HEAD' })
  t.match([head.status, head.url, head.redirected], [200, 'http://a.example.com/length', false])
  t.equal(head.headers.get('content-length'), '2000')
  await (await fetch('http://a.example.com/chunks')).body!.cancel()
  const reason = new Error('the caller has given up')
  await t.rejects(
    fetch('http://a.example.com/small', { signal: AbortSignal.abort(reason) }),
    reason,
    'an abort is no failure',
  )
  const later = new AbortController()
  const body = await fetch('http://a.example.com/slow', { signal: later.signal })
  later.abort(reason)
  await t.rejects(body.text(), reason)
})

const never = () => new Promise<never>(() => {})

await t.test('a lookup or a connector that never answers does not hold the request', async (t) => {
  // The timer of a request keeps no process alive.
  const alive = setInterval(() => {}, 1000)
  t.after(() => clearInterval(alive))
  for (const options of [{ lookup: never }, { connect: never }]) {
    const { fetch } = recording({ 'a.example.com': ['8.8.8.8'] }, { timeoutMs: 30, ...options })
    await t.rejects(fetch('https://a.example.com/'), { code: FAILED, message: /in time/ })
  }
})

await t.test('a lookup that answers after the deadline opens no connection', async (t) => {
  const alive = setInterval(() => {}, 1000)
  t.after(() => clearInterval(alive))
  const answers: ((found: { address: string; family: 4 }[]) => void)[] = []
  const lookup = () =>
    new Promise<{ address: string; family: 4 }[]>((resolve) => answers.push(resolve))
  const { fetch, targets } = recording({}, { timeoutMs: 30, lookup })
  await t.rejects(fetch('https://a.example.com/'), { code: FAILED, message: /in time/ })
  answers[0]!([{ address: '8.8.8.8', family: 4 }])
  await new Promise(setImmediate)
  t.same(targets, [])
})

await t.test('the event of a refused redirect names its target', async (t) => {
  const { app, events } = await build(t, {
    fetch: {
      schemes: ['http'],
      lookup: async () => [{ address: '93.184.215.14', family: 4 }],
      connect: await redirecting(t, 'http://169.254.169.254/latest'),
    },
  })
  await t.rejects(app.inputGuard.fetch('http://short.example.com/'), { code: FORBIDDEN })
  t.match(events, [{ details: { host: '169.254.169.254' } }])
})

/** A connector to a server that redirects every request. */
async function redirecting(t: Test, location: string) {
  const server = createServer((_request, response) => response.writeHead(302, { location }).end())
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.after(() => {
    server.closeAllConnections()
    server.close()
  })
  return async () => {
    const socket = connect((server.address() as AddressInfo).port, '127.0.0.1')
    await once(socket, 'connect')
    return socket
  }
}

await t.test('a refused request is an event without the URL', async (t) => {
  const { app, events } = await build(t)
  await t.rejects(app.inputGuard.fetch('https://169.254.169.254/secret?token=x'), {
    code: FORBIDDEN,
  })
  t.match(events, [
    {
      type: 'input_guard.request_forbidden',
      severity: 'high',
      details: { host: '169.254.169.254' },
    },
  ])
  t.notMatch(JSON.stringify(events), /secret|token/)
})

await t.test('the default connector connects to the address and reports a failure', async (t) => {
  const server = createServer((_request, response) => response.end('plain'))
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.after(() => server.close())
  const { createPinnedConnect } = await import('../src/outgoing/pinned-connect.ts')
  const { port } = server.address() as AddressInfo
  const open = createPinnedConnect({}, 1000)
  const { signal } = new AbortController()
  const socket = await open({ host: '127.0.0.1', port, isTls: false, signal })
  t.equal(socket.remotePort, port)
  socket.destroy()
  await t.rejects(open({ host: '127.0.0.1', port, isTls: true, signal }), 'a server without TLS')
  await t.rejects(
    open({ host: 'localhost', port, isTls: false, signal }),
    { code: FORBIDDEN },
    'the resolver of the system is checked, too',
  )
})
