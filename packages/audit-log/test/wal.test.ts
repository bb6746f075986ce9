import {
  appendFileSync,
  existsSync,
  readdirSync,
  readFileSync,
  renameSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { createManualClock, lockFolder, systemClock } from '@parapet/kit'
import { runs } from '@parapet/testing'
import t from 'tap'
import { Shipper } from '../src/pipeline/shipper.ts'
import type { LogStore } from '../src/log/log-store.ts'
import { decodeFrame, FrameEncoder } from '../src/wal/frames.ts'
import { recoverSegments, SegmentReader, segmentName } from '../src/wal/segments.ts'
import { Spool } from '../src/wal/spool.ts'
import { createApp, named, openFolder, recordsOf, useFolder, verify } from './support.ts'

const WRITER = 'ab'.repeat(8)

/** Frames with one record each, and their offsets. */
function segmentOf(frames: number): { bytes: Buffer; starts: number[] } {
  const encoder = new FrameEncoder()
  const pieces: Buffer[] = []
  const starts: number[] = []
  let at = 0
  for (let n = 0; n < frames; n++) {
    const entries = [{ leaf: `{"n":${n}}`, attachments: n % 2 === 0 ? null : '{"blob":"x"}' }]
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

function createShipper(spool: Spool, store: LogStore): Shipper {
  return new Shipper({ spool, store, now: Date.now, onOffered: () => {}, onLost: () => {} })
}

await t.test('a spool that is truncated anywhere keeps every complete frame before', async (t) => {
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

await t.test('a flipped bit anywhere loses one frame and no later frame', async (t) => {
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

await t.test('damage in the spool is reported, and later records reach the log', async (t) => {
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
  t.same(named(report), ['gap 2'], 'the missing number is reported')
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

/** A store that keeps the numbers of appended records. */
function keepingStore(): { store: LogStore; kept: number[] } {
  const kept: number[] = []
  const append: LogStore['append'] = async (records) => {
    kept.push(...records.map(({ seq }) => seq!))
  }
  return { store: { append } as LogStore, kept }
}

await t.test('a segment whose end is lost does not block later segments', async (t) => {
  const folder = useFolder(t)
  const reasons: unknown[] = []
  const spool = await Spool.open({
    ...settingsOf(folder),
    onFailure: (error) => void reasons.push((error as { code?: string }).code),
  })
  t.after(() => spool.close())
  const two = async () => {
    for (let n = 0; n < 2; n++) await spool.append(leafOf)
    await spool.rotate()
  }
  await two()
  const path = spool.segments[0]!.path
  writeFileSync(path, readFileSync(path).subarray(0, -1))
  await two()
  const { store, kept } = keepingStore()
  const shipper = createShipper(spool, store)
  while (await shipper.shipBatch());
  await shipper.shipBatch()
  t.same(kept, [0, 2, 3])
  t.same(reasons, ['DAMAGED'])
  t.same(spool.segments, [])
  t.match(
    readdirSync(folder).filter((name) => name.endsWith('.damaged')).length,
    1,
    'the damaged segment is kept',
  )
  await shipper.close()
})

function leafOf(seq: number) {
  return { leaf: `{"seq":${seq}}`, attachments: null }
}

await t.test('the newest segment stays the newest after the clock is set back', async (t) => {
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

await t.test('a spool with another format version is refused', async (t) => {
  const folder = useFolder(t)
  writeFileSync(join(folder, `${segmentName(1, WRITER, 0)}2`), 'x')
  await t.rejects(Spool.open(settingsOf(folder)), {
    code: 'PARAPET_AUDIT_LOG_CORRUPT',
    statusCode: 500,
  })
  const release = await lockFolder(folder)
  await release()
})

await t.test('many large records in one group are stored and read back', async (t) => {
  const folder = useFolder(t)
  const spool = await Spool.open(settingsOf(folder))
  const text = 'x'.repeat(6 * 1024 * 1024)
  await Promise.all(
    Array.from({ length: 8 }, () =>
      spool.append((seq) => ({ leaf: `{"n":${seq}}`, attachments: text })),
    ),
  )
  t.ok(spool.segments.length > 1, 'they need several frames')
  await spool.close()
  const { store, kept } = keepingStore()
  const again = await Spool.open(settingsOf(folder))
  const shipper = createShipper(again, store)
  while (await shipper.shipBatch());
  t.same(kept, [0, 1, 2, 3, 4, 5, 6, 7])
  await shipper.close()
  await again.close()
})

await t.test('a record that is too large is refused and uses no number', async (t) => {
  const app = await createApp(t)
  const huge = { before: {}, after: { text: 'x'.repeat(33 * 1024 * 1024) } }
  await t.rejects(app.audit.record('thing.act', { changes: huge }), {
    code: 'PARAPET_AUDIT_LOG_INVALID_RECORD',
    statusCode: 500,
  })
  await app.audit.record('thing.act', {})
  t.match(await recordsOf(app), [{ seq: 0 }, { seq: 1, action: 'thing.act' }])
})

await t.test('a disk that stays full does not create a file or a range per retry', async (t) => {
  const folder = useFolder(t)
  const clock = createManualClock()
  const spool = await Spool.open({ ...settingsOf(folder), clock })
  await spool.append(leafOf)
  await spool.rotate()
  // Without the folder no file can be created: each write fails as on a full disk.
  renameSync(folder, `${folder}-gone`)
  for (let n = 0; n < 5; n++) {
    clock.advance(1000)
    await t.rejects(spool.append(leafOf), {
      code: 'PARAPET_AUDIT_LOG_UNAVAILABLE',
      statusCode: 503,
    })
  }
  t.same(spool.lostSeqs, [[1, 5]])
  t.equal(spool.segments.length, 1)
  renameSync(`${folder}-gone`, folder)
  await spool.close()
})

await t.test(
  'records that were lost while the disk was full are all declared by a gap record',
  async (t) => {
    const folder = useFolder(t)
    const clock = createManualClock()
    const app = await createApp(t, { directory: folder, clock })
    const { spool } = app.audit.parts
    await spool.rotate()
    renameSync(join(folder, 'spool'), join(folder, 'full'))
    for (let n = 0; n < 4; n++) {
      await t.rejects(app.audit.record('thing.act', {}), {
        code: 'PARAPET_AUDIT_LOG_UNAVAILABLE',
        statusCode: 503,
      })
      await spool.settle()
      clock.advance(1000)
    }
    t.equal(spool.lostSeqs.length, 1, 'all lost records are one range')
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

await t.test('a pruning that a crash interrupted is completed by the next pruning', async (t) => {
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

await t.test('a pruning does not visit what was pruned long ago', async (t) => {
  const app = await createApp(t)
  await Promise.all(Array.from({ length: 800 }, () => app.audit.record('thing.act', {})))
  await app.audit.flush()
  const { store } = app.audit.parts
  const oldest = join(app.folder, 'log/tile/entries/000')
  t.equal(await store.prune(512), 512)
  // A file where no pruning leaves one shows whether the next pruning looks there.
  writeFileSync(oldest, '')
  t.equal(await store.prune(768), 256)
  t.ok(existsSync(oldest))
  t.notOk(existsSync(join(app.folder, 'log/tile/entries/002')))
})

await t.test('files of a step that was not committed are ignored', async (t) => {
  const folder = useFolder(t)
  const first = await createApp(t, { directory: folder })
  for (let n = 0; n < 20; n++) await first.audit.record('thing.act', {})
  await first.audit.flush()
  const { verifierKey } = first.audit
  await first.close()
  // Full files that were created but not written, and files of a whole step beyond the state.
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

await t.test('an invalid seen.json stops the boot', async (t) => {
  const folder = useFolder(t)
  const app = await createApp(t, { directory: folder })
  await app.audit.flush()
  await app.close()
  writeFileSync(join(folder, 'seen.json'), '')
  await t.rejects(createApp(t, { directory: folder }), {
    code: 'PARAPET_AUDIT_LOG_CORRUPT',
    statusCode: 500,
  })
})

await t.test('a frame that is truncated or damaged anywhere is not decoded', async (t) => {
  const frame = Buffer.from(
    new FrameEncoder().encode(7, [
      { leaf: '{"a":1}', attachments: null },
      { leaf: '{"ü":2}', attachments: '{"blob":"x"}' },
    ]),
  )
  const whole = decodeFrame(frame, 0, 'w')
  t.match(whole, {
    kind: 'frame',
    end: frame.length,
    records: [
      { seq: 7, leaf: '{"a":1}' },
      { seq: 8, attachments: '{"blob":"x"}' },
    ],
  })
  for (let at = 0; at < frame.length; at++) {
    t.not(decodeFrame(frame.subarray(0, at), 0, 'w').kind, 'frame', `truncated at ${at}`)
    const damaged = Buffer.from(frame)
    damaged[at]! ^= 0x10
    t.not(decodeFrame(damaged, 0, 'w').kind, 'frame', `damaged at ${at}`)
  }
})

await t.test(
  'a start truncates an incomplete end, keeps complete frames and reports the removed bytes',
  async (t) => {
    const folder = useFolder(t)
    const settings = {
      folder,
      maxBytes: 1 << 20,
      segmentBytes: 1 << 16,
      clock: systemClock,
      onFailure: () => {},
    }
    const first = await Spool.open(settings)
    await Promise.all(
      [1, 2, 3].map((n) =>
        first.append((seq) => ({ leaf: `{"n":${n},"seq":${seq}}`, attachments: null })),
      ),
    )
    await t.rejects(Spool.open(settings), { code: 'PARAPET_AUDIT_LOG_IN_USE', statusCode: 500 })
    await first.close()
    const [name] = readdirSync(folder).filter((file) => file.endsWith('.wal'))
    const path = join(folder, name!)
    const whole = statSync(path).size
    for (const tail of [
      Buffer.alloc(5, 1),
      Buffer.alloc(4096),
      Buffer.of(255, 255, 255, 255, 1, 2, 3, 4),
    ]) {
      truncateSync(path, whole)
      appendFileSync(path, tail)
      const { segments, cutBytes, last } = await recoverSegments(folder)
      t.equal(cutBytes, tail.length)
      t.equal(last?.seq, 2)
      t.equal(statSync(path).size, whole)
      const records = await new SegmentReader(segments[0]!).read(1 << 20)
      t.same(
        records.map(({ leaf }) => leaf),
        ['{"n":1,"seq":0}', '{"n":2,"seq":1}', '{"n":3,"seq":2}'],
      )
    }
    const second = await Spool.open(settings)
    t.not(second.writer, first.writer, 'a new writer name, so that numbers are never reused')
    await second.close()
  },
)

await t.test(
  'a failed write makes the spool refuse records until a retry with a new file succeeds',
  async (t) => {
    const folder = useFolder(t)
    const clock = createManualClock()
    const failures: unknown[] = []
    const spool = await Spool.open({
      folder: join(folder, 'spool'),
      maxBytes: 1 << 20,
      segmentBytes: 4096,
      clock,
      onFailure: (error) => failures.push(error),
    })
    await spool.append((seq) => ({ leaf: `{"seq":${seq}}`, attachments: null }))
    renameSync(join(folder, 'spool'), join(folder, 'gone'))
    const big = 'x'.repeat(5000)
    await t.rejects(
      spool.append((seq) => ({ leaf: `{"seq":${seq},"big":"${big}"}`, attachments: null })),
      { code: 'PARAPET_AUDIT_LOG_UNAVAILABLE', statusCode: 503 },
    )
    t.equal(failures.length, 1)
    t.equal(spool.canAccept(), false)
    await t.rejects(
      spool.append(() => ({ leaf: '{}', attachments: null })),
      { code: 'PARAPET_AUDIT_LOG_UNAVAILABLE', statusCode: 503 },
      'it is refused immediately',
    )
    t.same(spool.lostSeqs, [[1, 1]], 'the number of the lost record is declared')
    renameSync(join(folder, 'gone'), join(folder, 'spool'))
    clock.advance(1000)
    await spool.append((seq) => ({ leaf: `{"seq":${seq}}`, attachments: null }))
    t.equal(spool.nextSeq, 3)
    await spool.close()
  },
)
