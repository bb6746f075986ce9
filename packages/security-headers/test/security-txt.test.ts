import { createManualClock } from '@parapet/kit'
import { securityHeaders, type SecurityHeadersOptions } from '@parapet/security-headers'
import Fastify, { type FastifyInstance } from 'fastify'
import t, { type Test } from 'tap'

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

/** Boots an app on a day, and collects what it logs and emits. */
async function bootOn(t: Test, day: string, options: SecurityHeadersOptions) {
  const lines: string[] = []
  const logger = { level: 'error', stream: { write: (line: string) => void lines.push(line) } }
  const app = Fastify({ logger })
  t.after(() => app.close())
  const clock = createManualClock(Date.parse(`${day}T12:00:00Z`))
  await app.register(securityHeaders, { clock, ...options })
  const events: unknown[] = []
  app.securityEvents.on('*', ({ type, details }) => void events.push({ type, details }))
  await app.ready()
  return { app, clock, lines, events }
}

await t.test('a start after security.txt has expired serves the file, and says so', async (t) => {
  const securityTxt = { contact: ['mailto:a@example.com'], expires: '2026-11-24T00:00:00Z' }
  const { app, lines, events } = await bootOn(t, '2026-11-26', { securityTxt })
  const { statusCode, body } = await app.inject('/.well-known/security.txt')
  t.match([statusCode, body], [200, /Expires: 2026-11-24/])
  t.match(lines, [/security\.txt has expired/])
  t.match(events, [{ type: 'security_headers.security_txt_aged', details: { daysLeft: -3 } }])
})

await t.test('a waiver warns for 30 days before and after its last day', async (t) => {
  const waiver = { rule: 'HEADER-OPENER', reason: 'a popup of the bank', until: '2026-11-24' }
  const options = { openerPolicy: 'unsafe-none', waivers: [waiver] } as const
  const early = await bootOn(t, '2026-10-01', options)
  t.same([early.lines, early.events], [[], []])
  const soon = await bootOn(t, '2026-11-20', options)
  t.match(soon.events, [{ type: 'security_headers.waiver_aged', details: { daysLeft: 4 } }])
  t.same(soon.lines, [])
  soon.clock.advance(86_400_000)
  t.match(soon.events[1], { details: { daysLeft: 3 } }, 'every day')
  const late = await bootOn(t, '2026-12-20', options)
  t.match(late.events, [{ details: { rule: 'HEADER-OPENER', until: '2026-11-24', daysLeft: -26 } }])
  t.match(late.lines, [/the waiver of HEADER-OPENER has expired/])
  await t.rejects(bootOn(t, '2026-12-25', options), { message: 'WAIVER-EXPIRED' })
})

await t.test('the route declares to other plugins that it is public', async (t) => {
  const configs: unknown[] = []
  const app = Fastify()
  t.after(() => app.close())
  app.addHook('onRoute', ({ method, url, config }) => void configs.push({ method, url, config }))
  const securityTxt = { contact: ['mailto:a@example.com'], expires: '2027-06-01T00:00:00Z' }
  await app.register(securityHeaders, { securityTxt, reports: {}, clock: createManualClock(NOW) })
  await app.ready()
  const config = { sessions: 'ignored', rbac: { public: /^[a-z ]{20,}$/ } }
  t.match(configs, [
    { method: 'POST', url: '/_reports', config },
    { url: '/.well-known/security.txt', config },
    { url: '/.well-known/security.txt', config },
  ])
})
