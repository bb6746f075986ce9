/** The plugin inside an encapsulated context: the 404 responses of the root, and the warning. */
import { securityHeaders, type SecurityHeadersOptions } from '@parapet/security-headers'
import Fastify, { type FastifyInstance } from 'fastify'
import t, { type Test } from 'tap'
import { exchange, listen } from './helpers.ts'

/** An app whose log is collected. */
function buildLogged(t: Test): { app: FastifyInstance; lines: string[] } {
  const lines: string[] = []
  const stream = { write: (line: string) => void lines.push(line) }
  const app = Fastify({ logger: { level: 'warn', stream } })
  t.after(() => app.close())
  return { app, lines }
}

/** Like the app.js of fastify-cli: everything is registered inside one plugin. */
async function registerInside(
  app: FastifyInstance,
  options: SecurityHeadersOptions,
  prefix?: string,
): Promise<void> {
  await app.register(
    async (child) => {
      await child.register(securityHeaders, options)
      child.get('/inside', async () => 'inside')
    },
    prefix === undefined ? {} : { prefix },
  )
}

await t.test('the 404 responses of the root carry the block, and the boot warns', async (t) => {
  const { app, lines } = buildLogged(t)
  await registerInside(app, { preset: 'web' })
  app.get('/outside', async () => 'outside')
  const inside = (await app.inject('/inside')).headers
  const port = await listen(app)
  for (const url of ['/nowhere', '/deep/nowhere?a=1']) {
    const { status, headers } = await exchange(t, port, `GET ${url} HTTP/1.1\r\nHost: a\r\n\r\n`)
    t.equal(status, 404)
    for (const name of Object.keys(inside).filter((each) => /policy|x-|transport/.test(each))) {
      t.equal(headers[name], inside[name], `${url} ${name}`)
    }
  }
  t.notOk('content-security-policy' in (await app.inject('/outside')).headers)
  t.equal(lines.length, 1)
  t.match(lines[0], /registered inside another plugin.*fastify-plugin/)
})

await t.test('two contexts cover the root once, and a prefix is no mistake', async (t) => {
  const { app, lines } = buildLogged(t)
  await registerInside(app, { preset: 'web' }, '/web')
  await registerInside(app, { preset: 'api' }, '/api')
  app.setNotFoundHandler((_request, reply) =>
    reply.code(404).header('referrer-policy', 'origin').send('own'),
  )
  const { headers, body } = await app.inject('/nowhere')
  t.match(headers['content-security-policy'], /trusted-types 'none'/)
  t.match([body, headers['referrer-policy']], ['own', 'origin'], 'its handler keeps its headers')
  t.match((await app.inject('/web/inside')).headers['content-security-policy'], /trusted-types/)
  t.notMatch((await app.inject('/api/inside')).headers['content-security-policy'], /trusted-types/)
  t.same(lines, [])
})

await t.test('on the root there is nothing to warn about', async (t) => {
  const { app, lines } = buildLogged(t)
  await app.register(securityHeaders)
  t.equal((await app.inject('/nowhere')).statusCode, 404)
  t.same(lines, [])
})
