import { once } from 'node:events'
import {
  appendFileSync,
  existsSync,
  readdirSync,
  readFileSync,
  renameSync,
  writeFileSync,
} from 'node:fs'
import { connect, createServer } from 'node:net'
import { join } from 'node:path'
import type { AuditSink } from '@parapet/audit-log'
import { createManualClock } from '@parapet/kit'
import { runs } from '@parapet/testing'
import t from 'tap'
import { Shipper } from '../src/log/shipper.ts'
import type { LogStore } from '../src/store/log-store.ts'
import { FrameEncoder } from '../src/wal/frames.ts'
import { lockFolder } from '../src/wal/lock.ts'
import { recoverSegments, SegmentReader, segmentName } from '../src/wal/segments.ts'
import { Spool } from '../src/wal/spool.ts'
import { createApp, named, openFolder, recordsOf, useFolder, verify } from './support.ts'

const WRITER = 'ab'.repeat(8)

/** Frames of one or two records each, and where each begins. */
function segmentOf(frames: number): { bytes: Buffer; starts: number[] } {
  const encoder = new FrameEncoder()
  const pieces: Buffer[] = []
  const starts: number[] = []
  let at = 0
  for (let n = 0; n < frames; n++) {
    const entries = [{ leaf: `{"n":${n}}`, beside: n % 2 === 0 ? null : '{"blob":"x"}' }]
    const piece = Buffer.from(encoder.encode(n, entries))
    pieces.push(piece)
    starts.push(at)
    at += piece.length
  }
  return { bytes: Buffer.concat(pieces), starts }
}

async function readBack(folder: string, bytes: Buffer): Promise<number[]> {
  const path = join(folder, segmentName(1, WRITER, 0))
  writeFileSync(path, bytes)
  const { segments } = await recoverSegments(folder)
  const seqs: number[] = []
  for (const segment of segments) {
    const reader = new SegmentReader(segment)
    for (;;) {
      const records = await reader.read(64)
      if (records.length === 0) break
      seqs.push(...records.map(({ seq }) => seq))
    }
    await reader.close()
  }
  return seqs
}

await t.test('a spool that is cut anywhere keeps every whole frame before the cut', async (t) => {
  const folder = useFolder(t)
  const { bytes, starts } = segmentOf(5)
  let wrong = 0
  for (let cut = 0; cut <= bytes.length; cut++) {
    const whole = starts.filter((_, n) => (starts[n + 1] ?? bytes.length) <= cut).length
    const seqs = await readBack(folder, bytes.subarray(0, cut))
    if (seqs.join() !== [0, 1, 2, 3, 4].slice(0, whole).join()) wrong++
  }
  t.equal(wrong, 0)
})

await t.test('a bit that flips anywhere costs one frame, and none behind it', async (t) => {
  const folder = useFolder(t)
  const { bytes, starts } = segmentOf(5)
  let wrong = 0
  for (let at = 0; at < bytes.length; at++) {
    const hit = starts.findLastIndex((start) => start <= at)
    for (const bit of runs(1, 8) === 8 ? [0, 1, 2, 3, 4, 5, 6, 7] : [at % 8]) {
      const damaged = Buffer.from(bytes)
      damaged[at]! ^= 1 << bit
      const seqs = await readBack(folder, damaged)
      if (seqs.join() !== [0, 1, 2, 3, 4].filter((n) => n !== hit).join()) wrong++
    }
  }
  t.equal(wrong, 0)
})

await t.test('damage in the spool is told, and what follows it reaches the log', async (t) => {
  const folder = useFolder(t)
  const first = await createApp(t, { directory: folder, sequencer: false })
  for (let n = 0; n < 3; n++) await first.audit.record('thing.act', { resourceId: `${n}` })
  await first.close()
  const path = onlySegment(folder)
  const bytes = readFileSync(path)
  bytes[bytes.indexOf('"resourceId":"1"')]! ^= 1
  writeFileSync(path, bytes)
  const app = await createApp(t, { directory: folder })
  const heard: unknown[] = []
  app.securityEvents.on('audit_log.spool_repaired', ({ details }) => void heard.push(details))
  await app.ready()
  const records = await recordsOf(app)
  t.same(
    records.flatMap(({ resourceId }) => resourceId ?? []),
    ['0', '2'],
  )
  t.match(heard, [{ cutBytes: Number }])
  t.match(records.at(-1), { action: 'audit_log.writer_started', data: { cutBytes: Number } })
  const report = await verify(openFolder(folder), app.audit.verifierKey)
  t.same(named(report), ['gap 2'], 'the number that is lost is named')
  t.equal(report.exitCode, 2)
})

function onlySegment(folder: string): string {
  const spool = join(folder, 'spool')
  return join(
    spool,
    readdirSync(spool).find((file) => file.endsWith('.wal'))!,
  )
}

const settingsOf = (folder: string) => ({
  folder,
  maxBytes: 1 << 30,
  segmentBytes: 1 << 16,
  clock: createManualClock(),
  onFailure: () => {},
})

/** A store that keeps what it is given. */
function keepingStore(): { store: LogStore; kept: number[] } {
  const kept: number[] = []
  const append: LogStore['append'] = async (records) => {
    kept.push(...records.map(({ seq }) => seq!))
  }
  return { store: { append } as LogStore, kept }
}

await t.test('a segment that loses its end while it waits holds up nothing', async (t) => {
  const folder = useFolder(t)
  const reasons: unknown[] = []
  const spool = await Spool.open({
    ...settingsOf(folder),
    onFailure: (error) => void reasons.push((error as { code?: string }).code),
  })
  t.teardown(() => spool.close())
  const two = async () => {
    for (let n = 0; n < 2; n++) await spool.append(leafOf)
    await spool.rotate()
  }
  await two()
  const path = spool.segments[0]!.path
  writeFileSync(path, readFileSync(path).subarray(0, -1))
  await two()
  const { store, kept } = keepingStore()
  const shipper = new Shipper(spool, store, () => {})
  while (await shipper.shipBatch());
  await shipper.shipBatch()
  t.same(kept, [0, 2, 3])
  t.same(reasons, ['DAMAGED'])
  t.same(spool.segments, [])
  t.match(readdirSync(folder).filter((name) => name.endsWith('.damaged')).length, 1, 'it is kept')
  await shipper.close()
})

function leafOf(seq: number) {
  return { leaf: `{"seq":${seq}}`, beside: null }
}

await t.test('a clock that was put back does not change which segment is the newest', async (t) => {
  const folder = useFolder(t)
  const early = createManualClock(1_000_000)
  const late = createManualClock(9_000_000)
  const first = await Spool.open({ ...settingsOf(folder), clock: late })
  await first.append(leafOf)
  await first.close()
  const second = await Spool.open({ ...settingsOf(folder), clock: early })
  await second.append(leafOf)
  await second.append(leafOf)
  await second.close()
  const { last, segments } = await recoverSegments(folder)
  t.same(last, { writer: second.writer, seq: 1 })
  t.equal(segments.at(-1)!.writer, second.writer)
})

await t.test('a spool of another version is refused, not passed over', async (t) => {
  const folder = useFolder(t)
  writeFileSync(join(folder, `${segmentName(1, WRITER, 0)}2`), 'x')
  await t.rejects(Spool.open(settingsOf(folder)), { code: 'PARAPET_AUDIT_LOG_CORRUPT' })
  await (
    await lockFolder(folder)
  )()
})

await t.test('many large records in one group are durable, and are read back', async (t) => {
  const folder = useFolder(t)
  const spool = await Spool.open(settingsOf(folder))
  const text = 'x'.repeat(6 * 1024 * 1024)
  await Promise.all(
    Array.from({ length: 8 }, () =>
      spool.append((seq) => ({ leaf: `{"n":${seq}}`, beside: text })),
    ),
  )
  t.ok(spool.segments.length > 1, 'no frame holds them all')
  await spool.close()
  const { store, kept } = keepingStore()
  const again = await Spool.open(settingsOf(folder))
  const shipper = new Shipper(again, store, () => {})
  while (await shipper.shipBatch());
  t.same(kept, [0, 1, 2, 3, 4, 5, 6, 7])
  await shipper.close()
  await again.close()
})

await t.test('a record that is too large is refused, and costs no number', async (t) => {
  const app = await createApp(t)
  const huge = { before: {}, after: { text: 'x'.repeat(33 * 1024 * 1024) } }
  await t.rejects(app.audit.record('thing.act', { changes: huge }), {
    code: 'PARAPET_AUDIT_LOG_INVALID_RECORD',
  })
  await app.audit.record('thing.act', {})
  t.match(await recordsOf(app), [{ seq: 0 }, { seq: 1, action: 'thing.act' }])
})

await t.test('a disk that stays full leaves neither a file nor a range for each try', async (t) => {
  const folder = useFolder(t)
  const clock = createManualClock()
  const spool = await Spool.open({ ...settingsOf(folder), clock })
  await spool.append(leafOf)
  await spool.rotate()
  // A folder that takes no new file: the try fails as on a full disk.
  renameSync(folder, `${folder}-gone`)
  for (let n = 0; n < 5; n++) {
    clock.advance(1000)
    await t.rejects(spool.append(leafOf), { code: 'PARAPET_AUDIT_LOG_UNAVAILABLE' })
  }
  t.same(spool.lostSeqs, [[1, 5]])
  t.equal(spool.segments.length, 1)
  renameSync(`${folder}-gone`, folder)
  await spool.close()
})

await t.test(
  'what was lost while the disk was full is told in full, and then nothing is missing',
  async (t) => {
    const folder = useFolder(t)
    const clock = createManualClock()
    const app = await createApp(t, { directory: folder, clock })
    const { spool } = app.audit.parts
    await spool.rotate()
    renameSync(join(folder, 'spool'), join(folder, 'full'))
    for (let n = 0; n < 4; n++) {
      await t.rejects(app.audit.record('thing.act', {}), { code: 'PARAPET_AUDIT_LOG_UNAVAILABLE' })
      await spool.settle()
      clock.advance(1000)
    }
    t.equal(spool.lostSeqs.length, 1, 'one range, whatever was tried')
    renameSync(join(folder, 'full'), join(folder, 'spool'))
    await app.audit.record('thing.act', {})
    await spool.settle()
    await app.audit.flush()
    const report = await verify(app.audit.parts.store, app.audit.verifierKey)
    t.same(named(report), [])
    t.equal(report.exitCode, 0)
    t.ok(report.declaredLosses > 0)
  },
)

await t.test(
  'what the types forbid is recorded as text or refused, and never lost on the way',
  async (t) => {
    let id = 0
    const app = await createApp(t, {}, { genReqId: () => ++id as never })
    app.get('/', { config: { audit: 'thing.act' } }, async () => {
      throw Object.assign(new Error('no'), { name: 5, statusCode: 400 })
    })
    t.equal((await app.inject('/')).statusCode, 400)
    const odd = { requestId: 7, errorCode: null, resource: { a: 1 }, severity: 3, route: false }
    await app.audit.record('thing.odd', { ...odd, principal: 5, tenant: null, ip: [] } as never)
    for (const bad of [
      { result: 'ok' },
      { result: null },
      { changes: 'x' },
      { changes: null },
      { changes: {} },
      { changes: [null] },
      { changes: [{ path: 5 }] },
    ]) {
      await t.rejects(app.audit.record('thing.odd', bad as never), {
        code: 'PARAPET_AUDIT_LOG_INVALID_RECORD',
      })
    }
    t.match((await recordsOf(app)).slice(1), [
      { action: 'thing.act', requestId: '1', errorCode: '5' },
      { requestId: '7', errorCode: 'null', resource: '{"a":1}', severity: '3', principal: '5' },
    ])
    t.same(named(await verify(app.audit.parts.store, app.audit.verifierKey)), [])
  },
)

await t.test('a pruning that a crash cut short is finished by the next one', async (t) => {
  const app = await createApp(t)
  await Promise.all(Array.from({ length: 600 }, () => app.audit.record('thing.act', {})))
  await app.audit.flush()
  const { store } = app.audit.parts
  const bundle = join(app.folder, 'log/tile/entries/000')
  const bytes = readFileSync(bundle)
  t.equal(await store.prune(256), 256)
  t.notOk(existsSync(bundle))
  writeFileSync(bundle, bytes)
  t.equal(await store.prune(512), 256)
  t.notOk(existsSync(bundle))
})

await t.test('of many that begin at once beside a dead lock, no two take the folder', async (t) => {
  const folder = useFolder(t)
  for (let round = 0; round < runs(5, 200); round++) {
    const server = createServer().listen(join(folder, 'x'))
    await once(server, 'listening')
    renameSync(join(folder, 'x'), join(folder, 'lock'))
    server.close()
    await once(server, 'close')
    const tries = await Promise.allSettled(Array.from({ length: 6 }, () => lockFolder(folder)))
    const owners = tries.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : []))
    if (owners.length > 1) t.fail(`${owners.length} owners`)
    for (const release of owners) await release()
    await (
      await lockFolder(folder)
    )()
  }
  t.same(readdirSync(folder), [])
})

await t.test('what a crash left of a step that was not committed does no harm', async (t) => {
  const folder = useFolder(t)
  const first = await createApp(t, { directory: folder })
  for (let n = 0; n < 20; n++) await first.audit.record('thing.act', {})
  await first.audit.flush()
  const { verifierKey } = first.audit
  await first.close()
  // Full files that were opened and not yet written, and one whole step beyond the state.
  for (const path of ['tile/0/000', 'tile/entries/000', 'tile/0/001', 'tile/entries/001']) {
    writeFileSync(join(folder, 'log', path), '')
  }
  appendFileSync(join(folder, 'log/checkpoints.ndjson'), '{"size":12,"no')
  t.same(named(await verify(openFolder(folder), verifierKey)), [])
  const app = await createApp(t, { directory: folder })
  await Promise.all(Array.from({ length: 300 }, () => app.audit.record('thing.act', {})))
  await app.audit.flush()
  const report = await verify(openFolder(folder), verifierKey)
  t.same(named(report), [])
  t.equal(report.size, 323)
  await app.close()
  await (await createApp(t, { directory: folder })).close()
})

await t.test('what this process saw last is read strictly', async (t) => {
  const folder = useFolder(t)
  const app = await createApp(t, { directory: folder })
  await app.audit.flush()
  await app.close()
  writeFileSync(join(folder, 'seen.json'), '')
  await t.rejects(createApp(t, { directory: folder }), { code: 'PARAPET_AUDIT_LOG_CORRUPT' })
})

function gate() {
  let open!: () => void
  const promise = new Promise<void>((resolve) => (open = resolve))
  return { promise, open }
}

await t.test(
  'a request whose client went away, or whose handler took the reply over, is recorded once',
  async (t) => {
    const app = await createApp(t)
    const entered = gate()
    const left = gate()
    app.get('/slow', { config: { audit: 'thing.slow' } }, async (request) => {
      request.raw.once('close', () => left.open())
      entered.open()
      await left.promise
      return 'late'
    })
    app.get('/own', { config: { audit: 'thing.own' } }, async (_request, reply) => {
      reply.hijack()
      reply.raw.writeHead(418).end('mine')
    })
    const url = new URL(await app.listen({ port: 0, host: '127.0.0.1' }))
    const socket = connect(Number(url.port), url.hostname)
    socket.write('GET /slow HTTP/1.1\r\nhost: a\r\n\r\n')
    await entered.promise
    socket.destroy()
    await left.promise
    t.equal(await (await fetch(new URL('/own', url))).text(), 'mine')
    t.equal((await app.inject('/own')).statusCode, 418)
    let records: Record<string, unknown>[] = []
    while (records.length < 4) records = await recordsOf(app)
    t.same(
      records
        .slice(1)
        .map(({ action, result }) => `${String(action)} ${String(result)}`)
        .toSorted(),
      ['thing.own failure', 'thing.own failure', 'thing.slow success'],
    )
  },
)

await t.test(
  'a rule that reads what a refused request lacks changes neither reply nor record',
  async (t) => {
    const app = await createApp(t)
    app.post(
      '/',
      {
        config: {
          audit: {
            action: 'thing.act',
            resourceId: (request) => (request.body as { user: { id: string } }).user.id,
          },
        },
        onRequest: async () => {
          throw Object.assign(new Error('no'), { statusCode: 403 })
        },
      },
      async () => t.fail('the handler ran'),
    )
    t.equal((await app.inject({ method: 'POST', url: '/' })).statusCode, 403)
    t.match((await recordsOf(app))[1], { action: 'thing.act', result: 'failure' })
  },
)

await t.test('a store or a sink that hangs does not keep the app from closing', async (t) => {
  const hung: AuditSink = { name: 'hung', deliver: () => new Promise(() => {}) }
  const app = await createApp(t, { sinks: [hung], sinkDeadlineMs: 20 })
  app.audit.parts.pipeline.flush = () => new Promise(() => {})
  // The plugin's own timers keep no process alive.
  const alive = setInterval(() => {}, 1000)
  t.teardown(async () => clearInterval(alive))
  await app.audit.record('thing.act', {})
  await app.close()
  const again = await createApp(t, { directory: app.folder })
  t.equal((await recordsOf(again)).filter(({ action }) => action === 'thing.act').length, 1)
})
