import { spawn, execFileSync } from 'node:child_process'
import { createHmac } from 'node:crypto'
import { once } from 'node:events'
import {
  appendFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { createServer, type IncomingMessage } from 'node:http'
import { createServer as createTcpServer, type AddressInfo } from 'node:net'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import {
  sinks,
  SinkRefusal,
  toCef,
  toEcs,
  toOcsf,
  type AuditEntry,
  type AuditRecord,
  type AuditSink,
} from '@parapet/audit-log'
import { createManualClock } from '@parapet/kit'
import pino from 'pino'
import t, { type Test } from 'tap'
import { csvCell } from '../src/formats/csv.ts'
import { Follower } from '../src/delivery/follower.ts'
import { createApp, useFolder } from './support.ts'

const HOSTILE = 'a|b=c\\d\r\ne\nf\u0000g\u2028h\u0085i"j]k<l\u001b[2Jm, =cmd()'

function entry(index: number, more: Partial<AuditRecord> = {}): AuditEntry {
  const record: AuditRecord = {
    v: 1,
    id: `00000000-0000-7000-8000-${String(index).padStart(12, '0')}`,
    time: 1_700_000_000_000 + index,
    action: 'user.update',
    result: 'success',
    writer: 'w',
    seq: index,
    ...more,
  }
  return { index, record, leaf: JSON.stringify(record) }
}

const entries = (count: number) => Array.from({ length: count }, (_, index) => entry(index))
const signal = () => AbortSignal.timeout(10_000)

interface Call {
  readonly url: string
  readonly headers: IncomingMessage['headers']
  readonly body: string
}

function gate() {
  let open!: () => void
  const promise = new Promise<void>((resolve) => (open = resolve))
  return { promise, open }
}

/** A server that keeps its requests and answers with the given function. */
async function serve(t: Test, answer: (call: Call) => { status?: number; body?: unknown }) {
  const calls: Call[] = []
  const server = createServer((request, response) => {
    const chunks: Buffer[] = []
    request.on('data', (chunk: Buffer) => chunks.push(chunk))
    request.on('end', () => {
      const call = {
        url: request.url!,
        headers: request.headers,
        body: Buffer.concat(chunks).toString(),
      }
      calls.push(call)
      const { status = 200, body = {} } = answer(call)
      response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body))
    })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.after(async () => {
    server.closeAllConnections()
    server.close()
  })
  return { calls, url: `http://127.0.0.1:${(server.address() as AddressInfo).port}` }
}

await t.test(
  'the Elasticsearch sink writes to a data stream with stable ids and handles each item',
  async (t) => {
    const answers: { status?: number; body?: unknown }[] = []
    const { calls, url } = await serve(t, () => answers.shift() ?? {})
    const sink = sinks.elasticsearch({
      url,
      dataStream: 'logs-audit-prod',
      headers: { authorization: 'ApiKey x' },
    })
    answers.push({ body: { errors: false, items: [] } })
    t.same(await sink.deliver(entries(3), signal()), [])
    t.equal(calls[0]!.url, '/logs-audit-prod/_bulk')
    t.equal(calls[0]!.headers['content-type'], 'application/x-ndjson')
    t.equal(calls[0]!.headers.authorization, 'ApiKey x')
    const lines = calls[0]!.body
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line) as Record<string, unknown>)
    t.equal(lines.length, 6)
    t.match(lines[0], { create: { _id: entry(0).record.id } })
    t.match(lines[1], {
      '@timestamp': '2023-11-14T22:13:20.000Z',
      event: { action: 'user.update', outcome: 'success' },
    })
    // oxlint-disable-next-line unicorn/consistent-function-scoping -- easier to read next to its use
    const items = (...statuses: number[]) => ({
      body: {
        errors: true,
        items: statuses.map((status) => ({
          create: { status, error: { type: 'mapper_parsing_exception' } },
        })),
      },
    })
    answers.push(items(201, 409, 400))
    t.same(
      await sink.deliver(entries(3), signal()),
      [{ index: 2, reason: '400 mapper_parsing_exception' }],
      'a repeated record is not a rejection',
    )
    answers.push({ body: {} }, { body: [] })
    await t.rejects(
      sink.deliver(entries(3), signal()),
      /one result per record/,
      'a proxy may answer 200 to anything',
    )
    await t.rejects(sink.deliver(entries(3), signal()), /one result per record/)
    answers.push(items(201, 429, 201), { status: 503 }, { status: 401 }, items(201), {
      status: 413,
    })
    await t.rejects(sink.deliver(entries(3), signal()), /429/)
    await t.rejects(sink.deliver(entries(3), signal()), /503/)
    await t.rejects(
      sink.deliver(entries(3), signal()),
      { name: 'Error', message: /401/ },
      'a wrong API key is retried, because it can be corrected',
    )
    await t.rejects(sink.deliver(entries(3), signal()), /one result per record/)
    await t.rejects(sink.deliver(entries(3), signal()), { name: 'SinkRefusal' })
  },
)

await t.test('the OTLP and webhook sinks send the documented formats', async (t) => {
  let answer: { status?: number; body?: unknown } = {}
  const { calls, url } = await serve(t, () => answer)
  const otlp = sinks.otlp({ url: `${url}/v1/logs`, serviceName: 'shop' })
  await otlp.deliver(entries(2), signal())
  const sent = JSON.parse(calls[0]!.body) as {
    resourceLogs: {
      resource: unknown
      scopeLogs: { logRecords: { timeUnixNano: string; body: { stringValue: string } }[] }[]
    }[]
  }
  t.match(sent.resourceLogs[0]!.resource, {
    attributes: [{ key: 'service.name', value: { stringValue: 'shop' } }],
  })
  t.match(sent.resourceLogs[0]!.scopeLogs[0]!.logRecords[1], {
    timeUnixNano: '1700000000001000000',
    body: { stringValue: entry(1).leaf },
    severityNumber: 9,
  })
  answer = { body: { partialSuccess: { rejectedLogRecords: '1' } } }
  await t.rejects(otlp.deliver(entries(2), signal()), {
    name: 'SinkPartialRefusal',
    message: /rejected 1 of 2 records/,
  })
  answer = {}
  const secret = Buffer.alloc(32, 7)
  await sinks.webhook({ url, secret }).deliver(entries(2), signal())
  const { headers, body } = calls.at(-1)!
  const signed = `${String(headers['webhook-id'])}.${String(headers['webhook-timestamp'])}.${body}`
  t.equal(
    headers['webhook-signature'],
    `v1,${createHmac('sha256', secret).update(signed).digest('base64')}`,
  )
  t.match(JSON.parse(body), { records: [{ class_uid: 3001 }, {}] })
})

await t.test('OCSF, ECS and CEF map every class of action and escape hostile values', async (t) => {
  const classes: [string, number][] = [
    ['auth.login', 3002],
    ['user.create', 3001],
    ['user.role.change', 3005],
    ['data.export', 6005],
    ['thing.act', 6003],
    ['audit_log.alert_raised', 2004],
  ]
  for (const [action, uid] of classes) {
    const event = toOcsf(entry(1, { action, severity: 'high', principal: 'p' }))
    t.match(event, {
      class_uid: uid,
      category_uid: Math.floor(uid / 1000),
      severity_id: 4,
      status_id: 1,
      time: Number,
      metadata: { version: /^1\./, uid: /./, product: { vendor_name: 'Parapet' } },
    })
    t.equal(event['type_uid'], uid * 100 + Number(event['activity_id']), action)
  }
  t.match(toOcsf(entry(1), 'entity_management'), { entity: { uid: 'unknown' } })
  const inherited = entry(1, { action: 'user.constructor', severity: 'constructor' })
  t.match(toOcsf(inherited), { activity_id: 99, severity_id: 1 })
  t.match(toCef(inherited), /\|2\|rt=/)
  t.match(toOcsf(entry(1, { action: 'auth.login' })), {
    actor: { app_name: String },
    service: { name: String },
    src_endpoint: undefined,
  })
  t.match(toOcsf(entry(1, { ip: 'hmac:abc' })), { src_endpoint: { name: 'hmac:abc' } })
  t.match(toOcsf(entry(1, { result: 'failure', errorCode: 'E' })), {
    status_id: 2,
    status_code: 'E',
  })
  t.match(toEcs(entry(1, { ip: 'hmac:abc' })), { source: {} }, 'a hash is not an IP address')
  t.match(toEcs(entry(1, { ip: '2001:db8::1', tenant: 't' })), {
    source: { ip: '2001:db8::1' },
    organization: { id: 't' },
  })
  const hostile = entry(1, {
    principal: HOSTILE,
    userAgent: HOSTILE,
    resource: HOSTILE,
    resourceId: HOSTILE,
    route: HOSTILE,
    errorCode: HOSTILE,
    data: { x: HOSTILE },
  })
  const cef = toCef(hostile)
  t.notMatch(cef, /\p{Cc}|\p{Zl}/u, 'CEF is one line')
  t.match(cef, /^CEF:0\|Parapet\|audit-log\|1\|user\.update\|user\.update\|2\|rt=/)
  t.match(cef, /suser=a\|b\\=c\\\\d\\ne\\nf/)
  const personal = toCef(entry(1, { principal: { $pii: 'x', subject: 's' } }))
  t.match(personal, /suser=pii:s/)
  for (const cell of ['=1+1', '+1', '-1', '@x', '\tx', '|x', '%x'])
    t.match(csvCell(cell), /^"?'/, cell)
  for (const cell of [' =1', '\uff1d1', '\n=1', '\r+1']) t.match(csvCell(cell), /'/, cell)
  t.equal(csvCell('x;=cmd()'), `"x;'=cmd()"`, 'some locales split cells at a semicolon')
  t.equal(csvCell('x","=cmd()'), `"x"",""'=cmd()"`)
  t.equal(csvCell('a,"b"'), '"a,""b"""')
  t.equal(csvCell('plain'), 'plain')
})

function indexesIn(file: string): number[] {
  const lines = readFileSync(file, 'utf8').trim().split('\n')
  return lines.map((line) => (JSON.parse(line) as { index: number }).index)
}

await t.test('a file that another program renamed or removed is made again', async (t) => {
  const path = join(useFolder(t), 'audit.ndjson')
  const sink = sinks.file({ path })
  await sink.deliver([entry(0)], signal())
  renameSync(path, `${path}.1`)
  await sink.deliver([entry(1)], signal())
  t.same([indexesIn(`${path}.1`), indexesIn(path)], [[0], [1]])
  rmSync(path)
  await sink.deliver([entry(2)], signal())
  t.same(indexesIn(path), [2])
  await sink.close?.()
})

await t.test('a full file is rotated, and the oldest file is removed', async (t) => {
  const path = join(useFolder(t), 'deep', 'audit.ndjson')
  const sink = sinks.file({ path, maxBytes: 1000, keep: 3 })
  for (let at = 0; at < 40; at += 10)
    await sink.deliver(
      Array.from({ length: 10 }, (_, n) => entry(at + n)),
      signal(),
    )
  await sink.close?.()
  t.same(readdirSync(join(path, '..')).toSorted(), [
    'audit.ndjson',
    'audit.ndjson.1',
    'audit.ndjson.2',
  ])
  const indexes = ['.2', '.1', '']
    .flatMap((end) =>
      readFileSync(path + end, 'utf8')
        .trim()
        .split('\n'),
    )
    .map((line) => (JSON.parse(line) as { index: number }).index)
  t.same(
    indexes,
    Array.from({ length: indexes.length }, (_, n) => 40 - indexes.length + n),
    'the newest records, in order, none truncated',
  )
  appendFileSync(path, '{"index":99,"rec')
  const torn = sinks.file({ path })
  await torn.deliver(entries(2), signal())
  await torn.close?.()
  const [first, second] = readFileSync(path, 'utf8').trimEnd().split('\n').slice(-2)
  t.match([JSON.parse(first!), JSON.parse(second!)], [{ index: 0 }, { index: 1 }])
  const again = sinks.file({ path, maxBytes: 1000, keep: 1 })
  await again.deliver(entries(10), signal())
  await again.close?.()
  t.ok(readFileSync(path, 'utf8').length <= 1000)
})

await t.test('the pino sink logs one line per record', async (t) => {
  const lines: string[] = []
  const logger = pino({}, { write: (line: string) => void lines.push(line) })
  await sinks.pino(logger).deliver(entries(2), signal())
  t.match(JSON.parse(lines[1]!), {
    msg: 'user.update',
    audit: { index: 1, id: entry(1).record.id },
  })
})

await t.test(
  'HTTP sinks follow no redirect, limit the response size and validate options at boot',
  async (t) => {
    let hits = 0
    const inner = createServer((_request, response) => {
      hits++
      response.end('{}')
    }).listen(0, '127.0.0.1')
    await once(inner, 'listening')
    const target = `http://127.0.0.1:${(inner.address() as AddressInfo).port}/`
    const chunk = Buffer.alloc(1 << 20, 'x')
    const server = createServer((request, response) => {
      if (request.url === '/redirect') {
        response.writeHead(307, { location: target }).end()
        return
      }
      response.on('error', () => {})
      const more = (): void => {
        while (!response.destroyed && response.write(chunk));
      }
      response.on('drain', more)
      more()
    }).listen(0, '127.0.0.1')
    await once(server, 'listening')
    t.after(async () => {
      for (const one of [inner, server]) {
        one.closeAllConnections()
        one.close()
      }
    })
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
    const secret = Buffer.alloc(24)
    await t.rejects(sinks.webhook({ url: `${url}/redirect`, secret }).deliver(entries(1), signal()))
    t.equal(hits, 0, 'nothing was sent to the target of the redirect')
    await t.rejects(
      sinks.otlp({ url: `${url}/endless` }).deliver(entries(1), signal()),
      /longer than/,
    )
    const refused = { code: 'PARAPET_AUDIT_LOG_INVALID_OPTION', statusCode: 500 }
    for (const bad of ['', 'example.org', 'file:///etc/passwd']) {
      t.throws(() => sinks.otlp({ url: bad }), refused, bad)
      t.throws(() => sinks.elasticsearch({ url: bad, dataStream: 'x' }), refused)
      t.throws(() => sinks.webhook({ url: bad, secret }), refused)
    }
    t.throws(() => sinks.webhook({ url, secret: Buffer.alloc(23) }), refused)
    t.throws(() => sinks.webhook({ url, secret: 'x'.repeat(24) as never }), refused)
  },
)

await t.test(
  'a sink that throws synchronously has failed, and its deadline has no effect later',
  async (t) => {
    const lab = follow(
      {
        name: 'x',
        deliver: () => {
          throw new Error('thrown synchronously')
        },
      },
      1,
    )
    await t.rejects(lab.follower.step(), /thrown synchronously/)
    lab.clock.advance(5000)
  },
)

await t.test('the definition of an action sets the OCSF class', async (t) => {
  const classes: unknown[] = []
  const sink: AuditSink = {
    name: 'x',
    deliver: async (batch) => {
      for (const one of batch) classes.push(toOcsf(one)['class_uid'])
    },
  }
  const actions = { 'thing.act': { ocsf: 'entity_management' }, 'thing.see': {} } as const
  const app = await createApp(t, { actions, sinks: [sink] })
  await app.audit.record('thing.act', {})
  await app.audit.record('thing.see', {})
  await app.audit.flush()
  t.same(classes.slice(1), [3004, 6003])
  await t.rejects(createApp(t, { actions: { 'thing.act': { ocsf: 'x' as never } } }), {
    code: 'PARAPET_AUDIT_LOG_INVALID_OPTION',
    statusCode: 500,
  })
})

interface Lab {
  readonly store: { size: number }
  readonly dead: string[]
  readonly failures: unknown[]
  readonly follower: Follower
  readonly clock: ReturnType<typeof createManualClock>
}

function follow(sink: AuditSink, size: number): Lab {
  const lab = { size }
  const dead: string[] = []
  const failures: unknown[] = []
  const clock = createManualClock()
  let position = 0
  const store = {
    claimCursor: async () => ({ position, isGenuine: true }),
    moveCursor: async (_name: string, _holder: string, to: number) => {
      position = to
      return true
    },
    state: async () => ({ size: lab.size }),
    entries: async (start: number, end: number) =>
      entries(end)
        .slice(start)
        .map(({ index, leaf }) => ({ index, leaf })),
  }
  const follower = new Follower({
    sink,
    store: store as never,
    clock,
    holder: 'me',
    deadlineMs: 1000,
    ocsfOf: () => undefined,
    onFailed: (error) => failures.push(error),
    onDead: async ({ index }, reason) => void dead.push(`${index} ${reason}`),
    onSomeDead: async (batch, reason) => void dead.push(`some of ${batch.length}: ${reason}`),
    onForged: (forged) => void failures.push(forged),
  })
  return { store: lab, dead, failures, follower, clock }
}

await t.test('a failed delivery is repeated, at least once and in order', async (t) => {
  const got: number[] = []
  let failing = 2
  const lab = follow(
    {
      name: 'x',
      batchRecords: 4,
      deliver: async (batch) => {
        if (failing-- > 0) throw new Error('down')
        got.push(...batch.map(({ index }) => index))
      },
    },
    10,
  )
  await t.rejects(lab.follower.step(), /down/)
  await t.rejects(lab.follower.step(), /down/)
  while (await lab.follower.step());
  t.same(got, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9])
  t.equal(lab.follower.position, 10)
  t.equal(lab.failures.length, 2)
})

await t.test(
  'a record that a sink refuses is found and set aside, and the others are delivered',
  async (t) => {
    const got: number[] = []
    const lab = follow(
      {
        name: 'x',
        batchRecords: 8,
        deliver: async (batch) => {
          if (batch.some(({ index }) => index === 5)) throw new SinkRefusal('refused')
          got.push(...batch.map(({ index }) => index))
        },
      },
      12,
    )
    while (await lab.follower.step());
    t.same(
      got.toSorted((a, b) => a - b),
      [0, 1, 2, 3, 4, 6, 7, 8, 9, 10, 11],
    )
    t.same(lab.dead, ['5 refused'])
  },
)

await t.test('a sink outage opens the breaker and loses no record', async (t) => {
  let down = true
  let calls = 0
  const lab = follow(
    {
      name: 'x',
      deliver: async () => {
        calls++
        if (down) throw new Error('down')
      },
    },
    3,
  )
  for (let i = 0; i < 10; i++) await t.rejects(lab.follower.step())
  t.equal(calls, 3, 'the open breaker makes no calls')
  t.same(lab.dead, [])
  down = false
  lab.clock.advance(1000)
  await lab.follower.step()
  t.equal(lab.follower.position, 3)
})

await t.test(
  'a sink that hangs misses its deadline, is not called again meanwhile, and delays no request',
  async (t) => {
    // oxlint-disable-next-line unicorn/consistent-function-scoping -- replaced below
    let release = () => {}
    let aborted = false
    const called = gate()
    const lab = follow(
      {
        name: 'x',
        deliver: (_batch, abort) =>
          new Promise((resolve) => {
            abort.addEventListener('abort', () => (aborted = true))
            release = resolve
            called.open()
          }),
      },
      3,
    )
    const step = lab.follower.step()
    await called.promise
    lab.clock.advance(1000)
    await t.rejects(step, /did not answer within 1000 ms/)
    t.ok(aborted)
    await t.rejects(lab.follower.step(), /still runs/)
    release()
    await new Promise((next) => setImmediate(next))
    const second = lab.follower.step()
    await new Promise((next) => setImmediate(next))
    release()
    t.equal(await second, true, 'deliveries continue after the late one ended')

    const app = await createApp(t, {
      sinks: [{ name: 'hung', deliver: () => new Promise(() => {}) }],
      sinkDeadlineMs: 50,
    })
    // The plugin's timers are unreferenced, so the test needs one of its own.
    const alive = setInterval(() => {}, 1000)
    t.after(async () => clearInterval(alive))
    app.get('/', { config: { audit: 'thing.read' } }, async () => 'ok')
    for (let i = 0; i < 20; i++) t.equal((await app.inject('/')).statusCode, 200)
    await app.audit.flush()
    const { lag } = await app.audit.status()
    t.ok(lag['hung']! >= 20, 'the status shows its lag')
  },
)

await t.test('an entry that a sink rejects for good is written to the dead letters', async (t) => {
  const app = await createApp(t, {
    sinks: [
      {
        name: 'picky',
        deliver: async (batch) =>
          batch
            .filter(({ record }) => record.action === 'bad.one')
            .map(({ index }) => ({ index, reason: 'no' })),
      },
    ],
  })
  const heard: unknown[] = []
  app.securityEvents.on('audit_log.entry_rejected', ({ details }) => void heard.push(details))
  await app.audit.record('bad.one', {})
  await app.audit.flush()
  t.match(heard, [{ sink: 'picky', index: 1, reason: 'no' }])
  t.match(JSON.parse(readFileSync(join(app.folder, 'dead-letters', 'picky.ndjson'), 'utf8')), {
    index: 1,
    leaf: /bad.one/,
  })
})

await t.test(
  'the syslog sink prefixes each message with its length and fails when the receiver is gone',
  async (t) => {
    const got: Buffer[] = []
    const arrived = gate()
    const server = createTcpServer((socket) => {
      socket.on('error', () => {})
      socket.on('data', (chunk) => {
        got.push(chunk)
        arrived.open()
      })
    })
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    const { port } = server.address() as AddressInfo
    const sink = sinks.syslog({ host: '127.0.0.1', port, format: 'cef', appName: 'my app' })
    await sink.deliver([entry(0, { severity: 'critical', principal: HOSTILE })], signal())
    await arrived.promise
    const message = Buffer.concat(got).toString()
    const [length] = message.split(' ', 1)
    t.equal(Buffer.byteLength(message), Number(length) + length!.length + 1)
    t.match(
      message,
      /^\d+ <106>1 2023-11-14T22:13:20\.000Z \S+ my\?app \d+ user\.update \[meta sequenceId="1"\] CEF:0\|/,
    )
    await sink.close?.()
    server.close()
    await once(server, 'close')
    await t.rejects(sink.deliver(entries(1), signal()), { code: 'ECONNREFUSED' })
  },
)

/** Polls for a line that another process writes; the timeout of the test runner is the limit. */
async function lineOf(path: string): Promise<string> {
  for (;;) {
    const text = existsSync(path) ? readFileSync(path, 'utf8').trim() : ''
    if (text !== '') return text
    await turn()
  }
}

/** The pause of a poll on another process. */
const turn = () => pause(5)

/** Starts rsyslog with TLS in a folder. @returns its port and the file that it writes */
async function startRsyslog(t: Test, folder: string): Promise<{ port: number; out: string }> {
  execFileSync(
    '/usr/bin/openssl',
    [
      'req',
      '-x509',
      '-newkey',
      'ec',
      '-pkeyopt',
      'ec_paramgen_curve:P-256',
      '-nodes',
      '-days',
      '2',
      '-subj',
      '/CN=localhost',
      '-addext',
      'subjectAltName=DNS:localhost',
      '-keyout',
      join(folder, 'key.pem'),
      '-out',
      join(folder, 'cert.pem'),
    ],
    { stdio: 'ignore' },
  )
  mkdirSync(join(folder, 'work'))
  const out = join(folder, 'out.log')
  writeFileSync(
    join(folder, 'rsyslog.conf'),
    `
global(workDirectory="${folder}/work" maxMessageSize="128k" parser.escapeControlCharactersOnReceive="off"
  DefaultNetstreamDriver="ossl" DefaultNetstreamDriverCAFile="${folder}/cert.pem"
  DefaultNetstreamDriverCertFile="${folder}/cert.pem" DefaultNetstreamDriverKeyFile="${folder}/key.pem")
module(load="imtcp" StreamDriver.Name="ossl" StreamDriver.Mode="1" StreamDriver.Authmode="anon")
input(type="imtcp" port="0" address="127.0.0.1" listenPortFileName="${folder}/port")
template(name="raw" type="string" string="%msgid% %structured-data% %msg%\\n")
action(type="omfile" file="${out}" template="raw")
`,
  )
  const rsyslog = spawn(
    '/usr/sbin/rsyslogd',
    ['-n', '-f', join(folder, 'rsyslog.conf'), '-i', join(folder, 'pid')],
    { stdio: 'ignore' },
  )
  t.after(async () => {
    rsyslog.kill('SIGKILL')
  })
  return { port: Number(await lineOf(join(folder, 'port'))), out }
}

await t.test('rsyslog receives every record over TLS as one line', async (t) => {
  if (
    !existsSync('/usr/sbin/rsyslogd') ||
    !existsSync('/usr/lib/x86_64-linux-gnu/rsyslog/lmnsd_ossl.so')
  ) {
    if (process.env['PARAPET_REQUIRE_SERVICES'] === '1') t.fail('no rsyslog with rsyslog-openssl')
    else t.pass('needs rsyslog', { skip: 'no rsyslog with rsyslog-openssl' })
    return
  }
  const folder = useFolder(t)
  const { port, out } = await startRsyslog(t, folder)
  const sink = sinks.syslog({
    host: '127.0.0.1',
    port,
    // As in its configuration.
    maxMessageBytes: 65_536,
    tls: { ca: readFileSync(join(folder, 'cert.pem')), servername: 'localhost' },
  })
  const batch = [
    entry(0),
    entry(1, { principal: HOSTILE }),
    entry(2, { data: { text: 'ü'.repeat(8000) } }),
    ...entries(50).slice(3),
  ]
  await sink.deliver(batch, signal())
  const linesOf = () => (existsSync(out) ? readFileSync(out, 'utf8').trimEnd().split('\n') : [])
  while (linesOf().length < 50) await turn()
  const lines = linesOf()
  t.equal(lines.length, 50, 'one line per record')
  lines.forEach((line, index) => {
    const [, sequence, json] = /^user\.update \[meta sequenceId="(\d+)"\] ?(.*)$/s.exec(line) ?? []
    t.equal(Number(sequence), index + 1)
    t.same(JSON.parse(json ?? 'null'), batch[index]!.record)
  })
  await sink.close?.()
  const ca = readFileSync(join(folder, 'cert.pem'))
  for (const [tls, why] of [
    [{ ca }, 'the certificate does not name this address'],
    [{ ca, servername: 'other.example' }, 'the certificate does not have this name'],
  ] as const) {
    await t.rejects(
      sinks.syslog({ host: '127.0.0.1', port, tls }).deliver(entries(1), signal()),
      { code: 'ERR_TLS_CERT_ALTNAME_INVALID' },
      why,
    )
  }
  await t.rejects(
    sinks.syslog({ host: '127.0.0.1', port, tls: true }).deliver(entries(1), signal()),
    /self-signed/,
    'a self-signed certificate is refused',
  )
})
