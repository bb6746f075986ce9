/** Messages: what receivers get, what happens when they do not answer, and which targets are never called. */
import { createHmac } from 'node:crypto'
import { once } from 'node:events'
import { createServer, type IncomingMessage } from 'node:http'
import type { AddressInfo } from 'node:net'
import {
  allowPrivateTarget,
  createMailNotifier,
  createPagerDutyNotifier,
  createSlackNotifier,
  createWebhookNotifier,
  type Incident,
  type Notifier,
} from '@parapet/incident-response'
import { SMTPServer } from 'smtp-server'
import t, { type Test } from 'tap'
import { sendToTarget } from '../src/notify/post-json.ts'
import { afterQuietHours } from '../src/notify/quiet-hours.ts'
import { isPublicTarget, refuseTarget } from '../src/notify/safe-target.ts'
import { openMemoryFleet } from './support/fleet.ts'

interface Got {
  readonly method: string | undefined
  readonly headers: IncomingMessage['headers']
  readonly body: string
}

/** A receiver on this machine. @param answer the status of the nth request, or `null`: no answer. */
async function openReceiver(t: Test, answer: (n: number) => number | null = () => 200) {
  const got: Got[] = []
  const server = createServer((request, response) => {
    const chunks: Buffer[] = []
    request.on('data', (chunk: Buffer) => chunks.push(chunk))
    request.on('end', () => {
      const { method, headers } = request
      got.push({ method, headers, body: Buffer.concat(chunks).toString() })
      const status = answer(got.length)
      if (status === null) return
      response.writeHead(status, { location: 'http://127.0.0.1:1/' }).end('x'.repeat(100_000))
    })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.after(() => {
    server.closeAllConnections()
    server.close()
  })
  return { got, url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/hook` }
}

const local = { [allowPrivateTarget]: true } as const
const secret = `whsec_${Buffer.from('a secret of thirty-two bytes, ok').toString('base64')}`

async function tell(t: Test, notifier: Notifier) {
  const fleet = (await openMemoryFleet(t))!
  const app = await fleet.open({
    builtIn: [],
    notifiers: { team: notifier },
    incidentUrl: ({ id }) => `https://ops.example.com/incidents/${id}`,
  })
  const title = 'Someone <b>guesses</b> & <!channel>\r\nBcc: x@example.com'
  const finding = { type: 'brute_force', title, address: '192.0.2.1' } as const
  const incident = await app.incidents.report(finding)
  return { fleet, app, incident }
}

async function notified(id: string, { fleet, app }: Awaited<ReturnType<typeof tell>>) {
  const has = async () => (await app.incidents.timeline(id)).some(({ kind }) => kind === 'notified')
  for (let count = 0; count < 200 && !(await has()); count++) {
    await fleet.advance(500)
    await app.incidents.settle()
  }
  if (!(await has())) throw new Error('nobody was told')
}

await t.test('a webhook is signed as Standard Webhooks has it', async (t) => {
  const { got, url } = await openReceiver(t)
  const secrets = [secret, 'an older secret of the receiver'] as const
  const told = await tell(t, createWebhookNotifier({ url, secrets: [...secrets], ...local }))
  await notified(told.incident.id, told)
  t.equal(got.length, 1)
  const { headers, body, method } = got[0]!
  t.equal(method, 'POST')
  const signed = `${String(headers['webhook-id'])}.${String(headers['webhook-timestamp'])}.${body}`
  const keys = [Buffer.from('a secret of thirty-two bytes, ok'), Buffer.from(secrets[1])]
  const expected = keys.map(
    (key) => `v1,${createHmac('sha256', key).update(signed).digest('base64')}`,
  )
  t.equal(headers['webhook-signature'], expected.join(' '))
  t.equal(headers['webhook-id'], `notify:${told.incident.id}:opened:team`)
  const read = JSON.parse(body) as { type: string; data: { incident: Incident; url: string } }
  t.match(read, {
    type: 'incident.opened',
    data: {
      incident: { id: told.incident.id },
      url: `https://ops.example.com/incidents/${told.incident.id}`,
    },
  })
  t.notMatch(body, /whsec/)
})

await t.test('Slack gets plain text that mentions nobody', async (t) => {
  const { got, url } = await openReceiver(t)
  const told = await tell(t, createSlackNotifier({ url, ...local }))
  await notified(told.incident.id, told)
  const body = JSON.parse(got[0]!.body) as { text: string; attachments: { blocks: unknown[] }[] }
  t.equal(
    body.text,
    '[MEDIUM] New incident: Someone &lt;b&gt;guesses&lt;/b&gt; &amp; &lt;!channel&gt; Bcc: x@example.com',
  )
  t.match(body.attachments[0]!.blocks, [
    { type: 'header', text: { type: 'plain_text' } },
    { type: 'section', text: { type: 'plain_text', text: /Addresses: 192\.0\.2\.1/ } },
    { type: 'context' },
  ])
})

await t.test('PagerDuty gets one alert for each incident, and its end', async (t) => {
  const { got, url } = await openReceiver(t)
  const told = await tell(t, createPagerDutyNotifier({ url, routingKey: 'R0', ...local }))
  await notified(told.incident.id, told)
  await told.app.incidents.close(told.incident.id, 'false_positive', { by: 'alice' })
  await told.fleet.until(() => got.length === 2)
  const bodies = got.map(({ body }) => JSON.parse(body) as Record<string, unknown>)
  t.match(bodies[0], {
    routing_key: 'R0',
    event_action: 'trigger',
    dedup_key: told.incident.id,
    payload: {
      severity: 'warning',
      source: 'parapet',
      class: 'brute_force',
      summary: /^\[MEDIUM\]/,
    },
  })
  t.match(bodies[1], { event_action: 'resolve', dedup_key: told.incident.id })
})

await t.test('mail arrives at a real SMTP server, in one piece', async (t) => {
  const mails: string[] = []
  const server = new SMTPServer({
    disabledCommands: ['AUTH', 'STARTTLS'],
    onData(stream, _session, done) {
      const chunks: Buffer[] = []
      stream.on('data', (chunk: Buffer) => chunks.push(chunk))
      stream.on('end', () => {
        mails.push(Buffer.concat(chunks).toString())
        done()
      })
    },
  })
  server.listen(0, '127.0.0.1')
  await once(server.server, 'listening')
  t.after(() => new Promise<void>((resolve) => server.close(resolve)))
  const { port } = server.server.address() as AddressInfo
  const mail = createMailNotifier({
    transport: `smtp://127.0.0.1:${port}`,
    from: 'soc@example.com',
    to: ['duty@example.com'],
  })
  await mail.check!(new AbortController().signal)
  const told = await tell(t, mail)
  await notified(told.incident.id, told)
  t.equal(mails.length, 1)
  const head = mails[0]!.replaceAll(/\r\n[ \t]+/g, ' ').split('\r\n\r\n', 1)[0]!
  t.match(head, /^To: duty@example\.com\r?$/m)
  t.match(head, /^Subject: \[MEDIUM\] New incident: Someone <b>guesses<\/b> & <!channel> Bcc:/m)
  t.notMatch(head, /^Bcc:/m, 'a title adds no header')
  t.match(head, /Message-ID: <notify\.[0-9a-f-]+\.opened\.team@parapet\.invalid>/i)
  const down = createMailNotifier({
    transport: 'smtp://u:hunter2@127.0.0.1:1',
    from: 'a@b',
    to: ['c@d'],
  })
  const error = await down.check!(new AbortController().signal).catch((each: unknown) => each)
  t.match(error, { code: 'PARAPET_INCIDENT_RESPONSE_NOT_DELIVERED' })
  t.notMatch(String(error), /hunter2/)
})

await t.test(
  'a receiver that fails is tried again with growing pauses, then it is a dead letter',
  async (t) => {
    const fleet = (await openMemoryFleet(t))!
    const state = { isDown: true }
    const { got, url } = await openReceiver(t, () => (state.isDown ? 503 : 204))
    const notifier = createWebhookNotifier({ url, secrets: [secret], ...local })
    const app = await fleet.open({ builtIn: [], notifiers: { team: notifier } })
    const failed: unknown[] = []
    app.securityEvents.on(
      'incident_response.notification_failed',
      ({ details }) => void failed.push(details),
    )
    const { id, openedAt } = await app.incidents.report({ type: 'x' })
    await app.incidents.acknowledge(id, { by: 'alice' })
    await fleet.until(() => failed.length === 1, 30_000)
    t.equal(got.length, 8)
    t.ok(fleet.clock.now() - openedAt > 3_600_000)
    t.equal(new Set(got.map(({ headers }) => headers['webhook-id'])).size, 1)
    t.match(failed, [{ notifier: 'team', attempts: 8, reason: /the status was 503/ }])
    const [letter] = await app.incidents.deadLetters()
    t.match(letter, { notifier: 'team', reason: 'opened', error: /503/ })
    state.isDown = false
    await app.incidents.retryDeadLetter(letter!.id)
    await fleet.until(() => got.length === 9)
    await app.incidents.settle()
    t.same(await app.incidents.deadLetters(), [])
    await t.rejects(app.incidents.retryDeadLetter(letter!.id), {
      code: 'PARAPET_INCIDENT_RESPONSE_NOT_FOUND',
    })
  },
)

await t.test('redirects are not followed, and a receiver that hangs is given up', async (t) => {
  const { url } = await openReceiver(t, () => 302)
  const options = { method: 'POST', url, headers: {}, body: '{}', allowPrivate: true }
  const { signal } = new AbortController()
  t.equal(await sendToTarget({ ...options, signal }), 302)
  const hanging = await openReceiver(t, () => null)
  const own = new AbortController()
  const sending = sendToTarget({ ...options, url: hanging.url, signal: own.signal })
  while (hanging.got.length === 0) await new Promise((resolve) => setImmediate(resolve))
  own.abort()
  await t.rejects(sending, { name: 'AbortError' })
})

await t.test('private addresses are never called, however they are written', async (t) => {
  const refused = [
    '127.0.0.1',
    '10.1.2.3',
    '169.254.169.254',
    '168.63.129.16',
    '100.64.0.1',
    '0.0.0.0',
    '224.0.0.1',
    '::1',
    '::ffff:127.0.0.1',
    '::ffff:7f00:1',
    '64:ff9b::7f00:1',
    'fe80::1',
    'fd00::1',
    '2001:db8::1',
    '2002:7f00:1::',
    '2001::1',
    'fe80::1%eth0',
    'no address',
  ]
  for (const address of refused) t.notOk(isPublicTarget(address), address)
  for (const address of ['8.8.8.8', '2606:4700::1111']) t.ok(isPublicTarget(address), address)
  const urls = [
    'http://example.com/',
    'https://user:pass@example.com/',
    'https://localhost/',
    'https://127.1/',
    'https://2130706433/',
    'https://0x7f.1/',
    'https://[::1]/',
    'https://intranet/',
    'https://db.internal./',
    'ftp://example.com/',
    'https://example.com/#x',
    'x',
  ]
  for (const url of urls) t.type(refuseTarget(url, false), 'string', url)
  t.equal(refuseTarget('https://hooks.example.com/a?b', false), undefined)
  t.throws(() => createSlackNotifier({ url: 'http://127.0.0.1/' }), {
    code: 'PARAPET_INCIDENT_RESPONSE_INVALID_ARGUMENT',
  })
  t.throws(() => createWebhookNotifier({ url: 'https://a.example.com', secrets: ['short'] }), {
    code: 'PARAPET_INCIDENT_RESPONSE_INVALID_ARGUMENT',
  })
  const lookup = ((_host: string, _options: object, done: (...given: unknown[]) => void) => {
    done(null, [
      { address: '8.8.8.8', family: 4 },
      { address: '127.0.0.1', family: 4 },
    ])
  }) as never
  const request = {
    method: 'POST',
    url: 'https://rebind.example.com/',
    headers: {},
    body: '',
    lookup,
  }
  const { signal } = new AbortController()
  await t.rejects(sendToTarget({ ...request, signal, allowPrivate: false }), /may not be called/)
})

await t.test('quiet hours delay messages, also over a change of the clocks', (t) => {
  const night = { from: '22:00', to: '07:00' }
  t.equal(
    afterQuietHours(Date.parse('2026-01-01T23:00:00Z'), night),
    Date.parse('2026-01-02T07:00:00Z'),
  )
  t.equal(
    afterQuietHours(Date.parse('2026-01-02T06:59:59Z'), night),
    Date.parse('2026-01-02T07:00:00Z'),
  )
  t.equal(
    afterQuietHours(Date.parse('2026-01-02T07:00:00Z'), night),
    Date.parse('2026-01-02T07:00:00Z'),
  )
  t.equal(
    afterQuietHours(Date.parse('2026-01-02T12:00:00Z'), undefined),
    Date.parse('2026-01-02T12:00:00Z'),
  )
  const berlin = { ...night, timeZone: 'Europe/Berlin' }
  t.equal(
    afterQuietHours(Date.parse('2026-03-28T22:30:00Z'), berlin),
    Date.parse('2026-03-29T05:00:00Z'),
    'spring',
  )
  t.equal(
    afterQuietHours(Date.parse('2026-10-24T22:30:00Z'), berlin),
    Date.parse('2026-10-25T06:00:00Z'),
    'autumn',
  )
  // 02:30 does not exist in that night.
  const short = { from: '22:00', to: '02:30', timeZone: 'Europe/Berlin' }
  t.equal(
    afterQuietHours(Date.parse('2026-03-28T22:30:00Z'), short),
    Date.parse('2026-03-29T01:00:00Z'),
    'the clocks skip the end',
  )
  const always = { from: '07:00', to: '07:00' }
  t.equal(
    afterQuietHours(Date.parse('2026-01-02T07:01:00Z'), always),
    Date.parse('2026-01-03T06:59:00Z'),
    'once a day',
  )
  t.end()
})

await t.test('a message comes with the first minute behind the quiet hours', (t) => {
  const zones = ['Europe/Berlin', 'Australia/Lord_Howe', 'America/Sao_Paulo', 'Africa/Cairo']
  const nights = [
    '2026-03-28',
    '2026-10-24',
    '2026-04-04',
    '2018-11-03',
    '2018-02-17',
    '2026-04-23',
  ]
  const times = [
    ['22:00', '07:00'],
    ['22:00', '02:30'],
    ['01:00', '03:00'],
    ['22:00', '00:30'],
  ] as const
  for (const timeZone of zones) {
    const format = new Intl.DateTimeFormat('en-GB', { timeZone, timeStyle: 'short' })
    for (const night of nights) {
      const start = Date.parse(`${night}T00:00:00Z`)
      const clock = Array.from({ length: 60 * 60 }, (_, n) => format.format(start + n * 60_000))
      for (const [from, to] of times) {
        const isQuiet = (n: number) =>
          from < to ? clock[n]! >= from && clock[n]! < to : clock[n]! >= from || clock[n]! < to
        for (let n = 0; n < 36 * 60; n += 97) {
          const found =
            (afterQuietHours(start + n * 60_000, { from, to, timeZone }) - start) / 60_000
          const isEnd = found === n ? !isQuiet(n) : !isQuiet(found) && isQuiet(found - 1)
          if (!isEnd)
            t.fail(`${timeZone} ${from} to ${to}: ${clock[n]} waits until ${clock[found]}`)
        }
      }
    }
  }
  t.end()
})

await t.test('quiet hours hold for their severity only', async (t) => {
  const sent: string[] = []
  const fleet = (await openMemoryFleet(t))!
  const now = new Date(fleet.clock.now())
  const time = (hours: number) => `${String((now.getUTCHours() + hours) % 24).padStart(2, '0')}:00`
  const app = await fleet.open({
    builtIn: [],
    notifiers: { team: { send: async ({ title }) => void sent.push(title) } },
    quietHours: { low: { from: time(0), to: time(2) } },
  })
  await app.incidents.report({ type: 'a', severity: 'low' })
  await app.incidents.report({ type: 'b', severity: 'critical' })
  await fleet.until(() => sent.length === 1)
  t.match(sent, [/CRITICAL/])
  await fleet.advance(60_000)
  await app.incidents.settle()
  t.equal(sent.length, 1)
  await fleet.until(() => sent.some((title) => title.includes('LOW')), 600_000)
})

await t.test('a secret of a webhook has as many bytes as it looks', (t) => {
  const url = 'https://hooks.example.com/'
  for (const short of [
    'x'.repeat(23),
    `whsec_${'!'.repeat(40)}`,
    `whsec_${Buffer.alloc(23).toString('base64')}`,
    `whsec_${Buffer.alloc(24).toString('base64')}!`,
  ]) {
    t.throws(
      () => createWebhookNotifier({ url, secrets: [short] }),
      { message: /"secrets"/ },
      short,
    )
  }
  createWebhookNotifier({ url, secrets: [`whsec_${Buffer.alloc(24).toString('base64')}`] })
  t.end()
})

await t.test('a title that is cut stays text', async (t) => {
  const { got, url } = await openReceiver(t)
  const fleet = (await openMemoryFleet(t))!
  const app = await fleet.open({
    builtIn: [],
    notifiers: { team: createSlackNotifier({ url, ...local }) },
  })
  await app.incidents.report({ type: 'a', title: `${'x'.repeat(100)}${'😀'.repeat(50)}` })
  await fleet.until(() => got.length === 1)
  t.notMatch(got[0]!.body, /\\ud83d(?!\\ude00)/)
})
