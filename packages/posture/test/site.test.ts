/** TLS and headers of a running app. */
import { execFileSync, spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { createServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import type { SecureVersion } from 'node:tls'
import t, { type Test } from 'tap'
import { resolveOptions } from '../src/options.ts'
import { checkSite } from '../src/site/check-site.ts'
import { readTls } from '../src/site/read-tls.ts'
import { createSiteSend } from '../src/site/send-to-site.ts'
import { lineOf } from './helpers.ts'

/** The certificates of this test are made by the command `openssl`. */
function hasOpenssl(): boolean {
  return spawnSync('openssl', ['version'], { stdio: 'ignore' }).status === 0
}

/** A server with a certificate that nobody trusts. */
async function serve(t: Test, minVersion: SecureVersion, days: number): Promise<URL> {
  const folder = t.testdir()
  const [key, cert] = [join(folder, 'key.pem'), join(folder, 'cert.pem')]
  const subject = ['-subj', '/CN=localhost', '-addext', 'subjectAltName=DNS:localhost,IP:127.0.0.1']
  const made = [
    'req',
    '-x509',
    '-newkey',
    'rsa:2048',
    '-nodes',
    '-keyout',
    key,
    '-out',
    cert,
    '-days',
    String(days),
  ]
  execFileSync('openssl', [...made, ...subject], { stdio: 'ignore' })
  const settings = {
    key: readFileSync(key),
    cert: readFileSync(cert),
    minVersion,
    ciphers: 'DEFAULT@SECLEVEL=0',
  }
  const server = createServer(settings, (_, response) => response.end('{}'))
  await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve))
  t.after(() => {
    server.closeAllConnections()
    server.close()
  })
  return new URL(`https://127.0.0.1:${(server.address() as AddressInfo).port}`)
}

await t.test('old versions of TLS, days and trust of the certificate are read', async (t) => {
  if (!hasOpenssl()) {
    t.pass('needs openssl', { skip: 'there is no openssl in PATH' })
    return
  }
  const old = await readTls(await serve(t, 'TLSv1', 5), 5_000)
  t.match(old, {
    protocol: 'TLSv1.3',
    oldVersions: ['TLSv1', 'TLSv1.1'],
    failure: /DEPTH_ZERO_SELF_SIGNED_CERT|self-signed/,
  })
  t.ok(old.daysLeft === 4 || old.daysLeft === 5)
  const modern = await readTls(await serve(t, 'TLSv1.2', 90), 5_000)
  t.same(modern.oldVersions, [])
})

await t.test('a site without TLS behind its port has no handshake', async (t) => {
  const tls = await readTls(new URL('https://127.0.0.1:1'), 500)
  t.match(tls, { protocol: '', failure: 'no handshake' })
})

await t.test('requests keep their odd paths, and end at the deadline', async (t) => {
  const { createServer: createHttp } = await import('node:http')
  const seen: string[] = []
  const server = createHttp((request, response) => {
    seen.push(request.url ?? '')
    if (request.url === '/slow') return
    response.setHeader('set-cookie', ['a=1', 'b=2'])
    response.end('x'.repeat(100_000))
  })
  await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve))
  t.after(() => {
    server.closeAllConnections()
    server.close()
  })
  const address = new URL(`http://127.0.0.1:${(server.address() as AddressInfo).port}`)
  const reply = await createSiteSend(address, 60_000)({ method: 'GET', url: '/%zz', headers: {} })
  t.match(reply, { status: 200, cookies: ['a=1', 'b=2'] })
  t.equal(reply?.body.length, 65_536)
  const hurried = createSiteSend(address, 100)
  t.equal(await hurried({ method: 'GET', url: '/slow', headers: {} }), undefined)
  t.same(seen, ['/%zz', '/slow'])
  const report = await checkSite(address, ['/news'], resolveOptions({}))
  t.match(lineOf(report, 'TLS-03'), { status: 'manual' })
  t.match(lineOf(report, 'HDR-03'), { status: 'fail' })
  t.match(lineOf(report, 'COO-01'), { status: 'fail' })
})

await t.test(
  'the query of a path takes the values of probes, and the report has none',
  async (t) => {
    const { createServer: createHttp } = await import('node:http')
    const seen: string[] = []
    const server = createHttp((request, response) => {
      const url = new URL(request.url ?? '/', 'http://localhost')
      seen.push(url.pathname)
      if (url.pathname === '/files/.env') return void response.end('JWT_KEY=abc\n')
      if (url.pathname !== '/go') return void response.end('{}')
      const isKnown = url.searchParams.get('ticket') === 'k7-ticket'
      const next = url.searchParams.get('next') ?? '/'
      // The probes replace every member of the query.
      const location = isKnown ? '/known' : next
      return void response.writeHead(302, { location }).end()
    })
    await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve))
    t.after(() => {
      server.closeAllConnections()
      server.close()
    })
    const address = new URL(`http://127.0.0.1:${(server.address() as AddressInfo).port}/shop/`)
    const report = await checkSite(
      address,
      ['/go?next=/home&ticket=k7-ticket', '/files/'],
      resolveOptions({ environment: {} }),
    )
    t.match(lineOf(report, 'INJ-07').findings, [{ where: 'GET /go?next&ticket' }])
    t.match(lineOf(report, 'ERR-04').findings, [{ where: '/files/.env' }])
    t.ok(seen.includes('/shop/'), 'the path of the address is read, too')
    t.notMatch(JSON.stringify(report), /k7-ticket/)
  },
)
