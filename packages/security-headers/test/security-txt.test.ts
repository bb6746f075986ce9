import { createManualClock } from '@parapet/kit'
import { securityHeaders } from '@parapet/security-headers'
import Fastify, { type FastifyInstance } from 'fastify'
import t from 'tap'

const NOW = Date.parse('2026-11-21T12:00:00Z')

await t.test('security.txt is served, and an event warns 30 days before it expires', async (t) => {
  const clock = createManualClock(NOW)
  const app: FastifyInstance = Fastify()
  t.after(() => app.close())
  const aged: unknown[] = []
  await app.register(securityHeaders, {
    clock,
    securityTxt: {
      contact: ['mailto:security@example.com', 'https://example.com/report'],
      expires: '2026-12-22T12:00:00Z',
      preferredLanguages: ['en', 'de'],
      canonical: ['https://example.com/.well-known/security.txt'],
      policy: ['https://example.com/policy'],
    },
  })
  app.securityEvents.on(
    'security_headers.security_txt_aged',
    ({ details }) => void aged.push(details.daysLeft),
  )
  const reply = await app.inject({
    url: '/.well-known/security.txt',
    headers: { 'sec-fetch-site': 'cross-site', 'sec-fetch-mode': 'cors' },
  })
  t.equal(reply.statusCode, 200)
  t.equal(reply.headers['content-type'], 'text/plain; charset=utf-8')
  t.equal(
    reply.body,
    [
      'Contact: mailto:security@example.com',
      'Contact: https://example.com/report',
      'Expires: 2026-12-22T12:00:00Z',
      'Preferred-Languages: en, de',
      'Canonical: https://example.com/.well-known/security.txt',
      'Policy: https://example.com/policy',
      '',
    ].join('\n'),
  )
  t.same(aged, [])
  clock.advance(86_400_000)
  clock.advance(31 * 86_400_000)
  t.equal(aged[0], 30)
  t.equal(aged.at(-1), -1)
  await app.close()
  const emitted = aged.length
  clock.advance(10 * 86_400_000)
  t.equal(aged.length, emitted, 'the timer stops with the app')
})

await t.test('security.txt is refused below a prefix', async (t) => {
  const file = { contact: ['mailto:a@example.com'], expires: '2027-06-01T00:00:00Z' }
  const late = Fastify()
  t.after(() => late.close())
  await t.rejects(
    async () => {
      await late.register(
        async (child) => {
          await child.register(securityHeaders, {
            securityTxt: file,
            clock: createManualClock(NOW),
          })
        },
        { prefix: '/v1' },
      )
    },
    { code: 'PARAPET_SECURITY_HEADERS_INVALID_OPTION', message: /not below \/v1/ },
  )
})
