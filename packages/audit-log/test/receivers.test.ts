import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { createServer, type Server } from 'node:http'
import { createServer as createTcpServer, type AddressInfo } from 'node:net'
import { join } from 'node:path'
import {
  sinks,
  SinkBusy,
  SinkPartialRefusal,
  toCef,
  type AuditEntry,
  type AuditSink,
} from '@parapet/audit-log'
import { createManualClock } from '@parapet/kit'
import t, { type Test } from 'tap'
import { Follower } from '../src/delivery/follower.ts'
import { escapeJson } from '../src/formats/controls.ts'
import { createApp, useFolder } from './support.ts'

/** Line breaks of other systems, terminal commands, and changes of direction. */
const HOSTILE = '\u0085<13>1 - sshd\u009b2J\u2028\u2029\u007f\u202e\u2066\u200f\n\r\u0000\u001b[2J'
// oxlint-disable-next-line no-control-regex -- these must not arrive
const CONTROLS = /[\u0000-\u001f\u007f-\u009f\u2028-\u202e\u2066-\u2069\u200f]/

function entry(index: number, data: object): AuditEntry {
  const record = {
    v: 1 as const,
    id: `00000000-0000-7000-8000-${String(index).padStart(12, '0')}`,
    time: 1_700_000_000_000,
    action: 'user.update',
    result: 'success' as const,
    writer: 'w',
    data: data as never,
  }
  return { index, record, leaf: JSON.stringify(record) }
}

const signal = () => AbortSignal.timeout(10_000)

/** Receives syslog over TCP. @returns the messages by their octet counts */
async function receive(t: Test, send: (port: number) => Promise<void>): Promise<string[]> {
  const chunks: Buffer[] = []
  const server = createTcpServer((socket) => socket.on('data', (chunk) => void chunks.push(chunk)))
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.after(() => server.close())
  await send((server.address() as AddressInfo).port)
  const messages: string[] = []
  while (messages.length === 0) {
    await new Promise((resolve) => setImmediate(resolve))
    const bytes = Buffer.concat(chunks)
    for (let at = 0; at < bytes.length;) {
      const space = bytes.indexOf(32, at)
      const end = space + 1 + Number(bytes.toString('latin1', at, space))
      if (space === -1 || end > bytes.length) {
        messages.length = 0
        break
      }
      messages.push(bytes.toString('utf8', space + 1, end))
      at = end
    }
  }
  return messages
}

await t.test(
  'a syslog message has no control character in any format, and JSON keeps its value',
  async (t) => {
    for (const format of ['json', 'cef', 'ocsf'] as const) {
      const [message] = await receive(t, async (port) => {
        const sink = sinks.syslog({ host: '127.0.0.1', port, format })
        await sink.deliver([entry(3, { text: HOSTILE })], signal())
        await sink.close?.()
      })
      t.notMatch(message, CONTROLS, format)
      if (format !== 'json') continue
      const body = JSON.parse(message!.slice(message!.indexOf('] {') + 2)) as { data: object }
      t.same(body.data, { text: HOSTILE })
    }
  },
)

await t.test('a record that is too long for syslog is replaced by its id and hash', async (t) => {
  const long = entry(7, { text: `x\n<13>1 - - sshd - - - ${'y'.repeat(20_000)}` })
  for (const format of ['json', 'cef', 'ocsf'] as const) {
    const [message, ...more] = await receive(t, async (port) => {
      const sink = sinks.syslog({ host: '127.0.0.1', port, format })
      await sink.deliver([long], signal())
      await sink.close?.()
    })
    t.equal(more.length, 0)
    t.ok(Buffer.byteLength(message!) <= 8192, `${format}: ${message!.length}`)
    t.ok(message!.includes(long.record.id))
    t.ok(message!.includes(createHash('sha256').update(long.leaf).digest('hex')))
    t.notMatch(message, /sshd/)
  }
  t.throws(() => sinks.syslog({ host: 'x', maxMessageBytes: 10 }), {
    code: 'PARAPET_AUDIT_LOG_INVALID_OPTION',
    statusCode: 500,
  })
})

await t.test('file and console show control characters escaped', async (t) => {
  const path = join(useFolder(t), 'audit.ndjson')
  const file = sinks.file({ path })
  await file.deliver([entry(1, { text: HOSTILE })], signal())
  await file.close?.()
  const text = readFileSync(path, 'utf8')
  t.notMatch(text.trimEnd(), CONTROLS)
  t.match(JSON.parse(text), { record: { data: { text: HOSTILE } } })
  const logged: unknown[] = []
  const pino = sinks.pino({ info: (fields) => void logged.push(fields) })
  await pino.deliver([entry(1, { [HOSTILE]: [HOSTILE] })], signal())
  const [{ audit }] = logged as [{ audit: { data: Record<string, string[]> } }]
  const [[name, [value]]] = Object.entries(audit.data) as [[string, [string]]]
  t.notMatch(name, CONTROLS)
  t.notMatch(value, CONTROLS)
  t.notMatch(toCef(entry(1, { text: HOSTILE })), CONTROLS)
  t.equal(JSON.parse(escapeJson(JSON.stringify(HOSTILE))), HOSTILE)
})

/** A receiver with one answer, and the number of its requests. */
async function answering(t: Test, status: number, headers: object, body = '{}') {
  const calls = { count: 0 }
  const server: Server = createServer((request, response) => {
    calls.count++
    request.resume().on('end', () => response.writeHead(status, { ...headers }).end(body))
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.after(() => server.close())
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/`, calls }
}

/** A follower of ten entries. */
function follow(sink: AuditSink) {
  const clock = createManualClock()
  const dead: string[] = []
  let position = 0
  const store = {
    claimCursor: async () => ({ position, isGenuine: true }),
    moveCursor: async (_name: string, _holder: string, to: number) => {
      position = to
      return true
    },
    state: async () => ({ size: 10 }),
    entries: async (start: number, end: number) =>
      Array.from({ length: end - start }, (_, at) => entry(start + at, {})),
  }
  const follower = new Follower({
    sink,
    store: store as never,
    clock,
    holder: 'me',
    deadlineMs: 60_000,
    ocsfOf: () => undefined,
    onFailed: () => {},
    onDead: async () => {},
    onSomeDead: async (entries, reason) => void dead.push(`${entries.length}: ${reason}`),
    onForged: () => {},
  })
  return { follower, clock, dead }
}

await t.test('Retry-After is obeyed, as seconds and as a date', async (t) => {
  const secret = Buffer.alloc(32)
  for (const [status, after] of [
    [429, '120'],
    [503, new Date(Date.now() + 120_000).toUTCString()],
  ] as const) {
    const { url, calls } = await answering(t, status, { 'retry-after': after })
    const { follower, clock } = follow(sinks.webhook({ url, secret }))
    await t.rejects(follower.step(), SinkBusy)
    t.equal(await follower.step(), false)
    clock.advance(100_000)
    t.equal(await follower.step(), false)
    t.equal(calls.count, 1, 'nothing is sent before the time')
    clock.advance(30_000)
    await t.rejects(follower.step(), SinkBusy)
    t.equal(calls.count, 2)
  }
})

await t.test(
  'a partial success of OTLP is not sent again, and is kept in the dead letters',
  async (t) => {
    const body = JSON.stringify({
      partialSuccess: { rejectedLogRecords: '2', errorMessage: 'too old' },
    })
    const { url, calls } = await answering(t, 200, {}, body)
    const { follower, dead } = follow(sinks.otlp({ url }))
    while (await follower.step());
    t.equal(calls.count, 1)
    t.equal(follower.position, 10)
    t.same(dead, ['10: the receiver rejected 2 of 10 records: too old'])
  },
)

await t.test('what a receiver rejected without saying which is in the dead letters', async (t) => {
  const sink = {
    name: 'x',
    deliver: async () => {
      throw new SinkPartialRefusal('one was too old')
    },
  }
  const app = await createApp(t, { sinks: [sink], alerts: [] })
  await app.audit.record('thing.act', {})
  await app.audit.flush()
  const letters = readFileSync(join(app.folder, 'dead-letters/x.ndjson'), 'utf8')
  t.same(JSON.parse(letters), { from: 0, to: 1, reason: 'of the entries 0 to 1: one was too old' })
})
