/** nginx reads both variants, and real handshakes and requests show what they do. */
import { cpSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { createServer, type IncomingHttpHeaders } from 'node:http'
import { request } from 'node:https'
import { connect as connectTcp, type AddressInfo } from 'node:net'
import { once } from 'node:events'
import { join } from 'node:path'
import { connect, type ConnectionOptions } from 'node:tls'
import { findExecutable, findFreePort, missService, ServerProcess } from '@parapet/testing'
import t, { type Test } from 'tap'
import { deployFolder } from '../../deploy/check/all.ts'
import { createOpenFolder, prepareSecrets, runProgram } from '../support/deploy.ts'

const HOST = 'app.example.com'
const nginx = findExecutable('nginx', ['/usr/sbin'])
const secrets = await prepareSecrets(t, HOST)

if (nginx === null) missService(t, 'nginx', 'nginx is neither on PATH nor in /usr/sbin')
else await runTests(nginx)

/** A server that notes what arrives. */
async function startUpstream(t: Test) {
  const seen: { url: string; headers: IncomingHttpHeaders }[] = []
  const server = createServer((incoming, response) => {
    seen.push({ url: incoming.url!, headers: incoming.headers })
    incoming.resume().on('end', () => {
      response.setHeader('content-security-policy', "default-src 'self'")
      response.setHeader('x-frame-options', 'SAMEORIGIN')
      response.end('from the server')
    })
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.after(async () => void server.close())
  return { port: (server.address() as AddressInfo).port, seen, server }
}

/** Copies the configuration, with ports and paths of this test in place of those of a container. */
async function arrange(t: Test, variant: string, upstreamPort: number) {
  const folder = createOpenFolder(t)
  cpSync(join(deployFolder, 'nginx'), folder, { recursive: true })
  cpSync(join(secrets.folder, 'nginx'), join(folder, 'tls'), { recursive: true })
  mkdirSync(join(folder, 'tmp'), { mode: 0o777 })
  const [https, http] = [await findFreePort(), await findFreePort()]
  for (const [path, changes] of [
    [
      'parts/server.conf',
      [
        ['8443', https],
        ['8080', http],
        ['server:3000', `127.0.0.1:${upstreamPort}`],
      ],
    ],
    [
      'parts/http.conf',
      [
        ['/tmp/', `${folder}/tmp/`],
        ['/dev/stdout', `${folder}/access.log`],
      ],
    ],
    [
      'parts/main.conf',
      [
        ['/tmp/nginx.pid', `${folder}/nginx.pid`],
        ['worker_processes auto', 'worker_processes 1'],
      ],
    ],
  ] as const) {
    const file = join(folder, path)
    const text = changes.reduce(
      (text, [from, to]) => text.replaceAll(from, String(to)),
      readFileSync(file, 'utf8'),
    )
    writeFileSync(file, text)
  }
  return { folder, https, http, config: join(folder, variant) }
}

async function start(t: Test, file: string, variant: string) {
  const upstream = await startUpstream(t)
  const place = await arrange(t, variant, upstream.port)
  const server = new ServerProcess({
    file,
    args: ['-p', place.folder, '-c', place.config, '-g', 'daemon off;'],
    folder: place.folder,
    endSignal: 'SIGQUIT',
    probe: async () => {
      const socket = connectTcp(place.https, '127.0.0.1')
      await once(socket, 'connect')
      socket.destroy()
    },
  })
  t.after(() => server.end('SIGTERM'))
  await server.start()
  return { ...place, upstream }
}

/** A handshake. @returns the protocol and the suite, or the reason of the refusal. */
async function shake(port: number, options: ConnectionOptions): Promise<string> {
  const socket = connect({ port, host: '127.0.0.1', servername: HOST, ca: secrets.ca, ...options })
  try {
    await once(socket, 'secureConnect')
    return `${socket.getProtocol()} ${socket.getCipher().standardName}`
  } catch (error) {
    return (error as NodeJS.ErrnoException).code ?? String(error)
  } finally {
    socket.destroy()
  }
}

interface Answer {
  readonly status: number
  readonly headers: IncomingHttpHeaders
  readonly body: string
}

function ask(
  port: number,
  path: string,
  headers: Record<string, string> = {},
  method = 'GET',
  body = '',
): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const outgoing = request(
      {
        port,
        host: '127.0.0.1',
        servername: HOST,
        ca: secrets.ca,
        path,
        method,
        headers: { host: HOST, ...headers },
      },
      (incoming) => {
        let text = ''
        incoming.setEncoding('utf8').on('data', (chunk: string) => (text += chunk))
        incoming.on('end', () =>
          resolve({ status: incoming.statusCode!, headers: incoming.headers, body: text }),
        )
      },
    )
    outgoing.on('error', reject)
    outgoing.end(body)
  })
}

async function runTests(file: string): Promise<void> {
  await t.test('nginx -t accepts both variants, and refuses a broken one', async (t) => {
    for (const variant of ['modern.conf', 'intermediate.conf']) {
      const { folder, config } = await arrange(t, variant, 1)
      const { code, stderr } = await runProgram(file, ['-t', '-p', folder, '-c', config])
      t.equal(code, 0, stderr)
      writeFileSync(config, readFileSync(config, 'utf8').replace('ssl_protocols', 'ssl_protocol'))
      t.not((await runProgram(file, ['-t', '-p', folder, '-c', config])).code, 0)
    }
  })

  await t.test('modern.conf refuses TLS 1.2 and negotiates 1.3', async (t) => {
    const { https } = await start(t, file, 'modern.conf')
    t.match(await shake(https, {}), /^TLSv1\.3 TLS_/)
    t.equal(await shake(https, { maxVersion: 'TLSv1.2' }), 'ERR_SSL_TLSV1_ALERT_PROTOCOL_VERSION')
    t.match(await shake(https, { servername: 'other.example.com' }), /UNRECOGNIZED_NAME/)
  })

  await t.test(
    'intermediate.conf accepts TLS 1.2 with forward secrecy only, and refuses 1.1',
    async (t) => {
      const { https } = await start(t, file, 'intermediate.conf')
      t.match(await shake(https, {}), /^TLSv1\.3 TLS_/)
      t.match(
        await shake(https, { maxVersion: 'TLSv1.2' }),
        /^TLSv1\.2 TLS_ECDHE_ECDSA_.*(?:GCM|POLY1305)/,
      )
      for (const ciphers of ['AES128-SHA', 'AES256-GCM-SHA384', 'ECDHE-ECDSA-AES128-SHA']) {
        const refused = await shake(https, {
          maxVersion: 'TLSv1.2',
          ciphers: `${ciphers}:@SECLEVEL=0`,
        })
        t.match(refused, /HANDSHAKE_FAILURE/, ciphers)
      }
      const old = {
        minVersion: 'TLSv1',
        maxVersion: 'TLSv1.1',
        ciphers: 'DEFAULT:@SECLEVEL=0',
      } as const
      t.match(await shake(https, old), /PROTOCOL_VERSION|HANDSHAKE/)
    },
  )

  await t.test('forwarded headers of a client are overwritten', async (t) => {
    const { https, upstream } = await start(t, file, 'intermediate.conf')
    const lies = {
      'x-forwarded-for': '203.0.113.9, 198.51.100.7',
      'x-forwarded-proto': 'http',
      'x-forwarded-host': 'evil.example',
      'x-forwarded-port': '1',
      forwarded: 'for=203.0.113.9',
      'x-real-ip': '203.0.113.9',
      'x-request-id': 'chosen',
      proxy: 'http://evil.example',
    }
    await ask(https, '/a%2fb/../c?token=1', lies)
    const [{ url, headers } = { url: '', headers: {} as IncomingHttpHeaders }] = upstream.seen
    t.equal(url, '/a%2fb/../c?token=1', 'the bytes of the path arrive')
    t.match(headers, {
      host: HOST,
      'x-forwarded-for': /^127\.0\.0\.1$/,
      'x-forwarded-proto': /^https$/,
      'x-forwarded-host': new RegExp(`^${HOST}$`),
      'x-request-id': /^[0-9a-f]{32}$/,
    })
    for (const name of ['forwarded', 'x-real-ip', 'proxy']) t.notOk(name in headers, name)
  })

  await t.test(
    'security headers are those of the server, and nginx names no version',
    async (t) => {
      const { https, upstream, folder } = await start(t, file, 'intermediate.conf')
      const { headers, body } = await ask(https, '/page?token=secret')
      t.equal(body, 'from the server')
      t.match(headers, {
        'content-security-policy': "default-src 'self'",
        'x-frame-options': 'SAMEORIGIN',
      })
      t.notOk('strict-transport-security' in headers, 'none is added')
      t.equal(headers['server'], 'nginx')
      const log = readFileSync(join(folder, 'access.log'), 'utf8')
      t.equal((JSON.parse(log.split('\n')[0]!) as { path: string }).path, '/page')
      t.notMatch(log, /secret/, 'the log has no query string')

      const large = await ask(https, '/', { 'content-length': `${11 * 1024 * 1024}` }, 'POST')
      t.equal(large.status, 413)
      t.match(large.headers, {
        'content-security-policy': /default-src 'none'/,
        'x-content-type-options': 'nosniff',
      })
      upstream.server.close()
      upstream.server.closeAllConnections()
      const away = await ask(https, '/')
      t.equal(away.status, 502)
      t.match(away.headers, {
        'content-type': 'application/problem+json',
        'cache-control': 'no-store',
      })
    },
  )

  await t.test('another name in the request, or an upgrade to h2c, does not pass', async (t) => {
    const { https, upstream } = await start(t, file, 'intermediate.conf')
    for (const [line, host] of [
      ['/', 'other.example.com'],
      ['http://other.example.com/', HOST],
    ] as const) {
      const refused = await ask(https, line, { host })
      t.equal(refused.status, 421, `${line} ${host}`)
    }
    t.equal(upstream.seen.length, 0)
    const upgrade = { connection: 'upgrade, http2-settings', 'http2-settings': 'AAMAAABk' }
    await ask(https, '/', { ...upgrade, upgrade: 'h2c' })
    t.notOk('upgrade' in upstream.seen[0]!.headers)
    t.not(upstream.seen[0]!.headers.connection, 'upgrade')
    await ask(https, '/', { connection: 'upgrade', upgrade: 'WebSocket' })
    t.match(upstream.seen[1]!.headers, { upgrade: 'websocket', connection: 'upgrade' })
  })

  await t.test('without TLS there is only a redirect to the configured name', async (t) => {
    const { http, upstream } = await start(t, file, 'modern.conf')
    const response = await fetch(`http://127.0.0.1:${http}/a?b=1`, { redirect: 'manual' })
    t.equal(response.status, 308)
    t.equal(response.headers.get('location'), `https://${HOST}/a?b=1`)
    t.equal(upstream.seen.length, 0, 'nothing reaches the server')
  })
}
