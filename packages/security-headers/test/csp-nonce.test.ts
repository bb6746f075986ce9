import t from 'tap'
import { build } from './helpers.ts'

await t.test('a nonce is created only for responses whose handler reads it', async (t) => {
  const app = await build(t, { preset: 'web' })
  app.get('/page', async (_request, reply) => {
    t.equal(reply.cspNonce, reply.cspNonce, 'one nonce per response')
    return `${reply.cspNonce.script} ${reply.cspNonce.style}`
  })
  app.get('/data', async () => ({ data: 1 }))
  app.get('/late', (_request, reply) => {
    reply.hijack()
    reply.raw.writeHead(200)
    t.throws(() => reply.cspNonce, { code: 'PARAPET_SECURITY_HEADERS_NO_NONCE' })
    reply.raw.end()
  })
  const seen = new Set<string>()
  for (let turn = 0; turn < 600; turn++) {
    const { body, headers } = await app.inject('/page')
    const [script, style] = body.split(' ')
    t.equal(script, style)
    t.match(script, /^[\w+/]{22}==$/)
    t.equal(headers['content-security-policy']!.split(`'nonce-${script}'`).length, 3)
    seen.add(script!)
  }
  t.equal(seen.size, 600, 'every nonce differs, also after the pool of random bytes is refilled')
  const plain = (await app.inject('/data')).headers['content-security-policy']
  t.match(plain, /script-src 'none';style-src 'self' 'report-sample';/)
  t.notMatch(plain, /nonce|strict-dynamic/)
  await app.inject('/late')
})

await t.test('reading the nonce fails if the policy has no source for it', async (t) => {
  const app = await build(t)
  let isSent = false
  app.get('/', async (_request, reply) => {
    const { script } = reply.cspNonce
    isSent = true
    return script
  })
  const reply = await app.inject('/')
  t.equal(reply.statusCode, 500)
  t.equal(reply.json<{ code: string }>().code, 'PARAPET_SECURITY_HEADERS_NO_NONCE')
  t.notOk(isSent, 'the handler did not continue')
})
