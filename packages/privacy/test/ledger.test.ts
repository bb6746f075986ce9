import { appendFileSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import {
  createFileLedger,
  createMemoryLedger,
  createMemoryRecords,
  privacy,
  type Ledger,
} from '@parapet/privacy'
import Fastify from 'fastify'
import t, { type Test } from 'tap'
import { createPseudonyms } from '../src/identity/pseudonyms.ts'
import { readEntry, writeEntry } from '../src/ledger/ledger.ts'
import {
  CONTROLLER,
  createApp,
  createTable,
  KEYS,
  openConfirmed,
  SECRET,
  waitFor,
} from './helpers.ts'

await t.test('after a restore, the ledger erases again before the server is ready', async (t) => {
  const ledger = createMemoryLedger()
  const app = await createApp(t, { ledger })
  app.tables.users.rows.set('ann', [{ email: 'ann@acme.example', note: 'n' }])
  const id = await openConfirmed(app, 'ann', 'erasure')
  await app.until(id, 'completed')
  const erased = app.tables.users.rows.get('ann')

  // An older backup: neither the request nor the erasure is in it.
  const restored = createTable('users')
  restored.rows.set('ann', [{ email: 'ann@acme.example', note: 'n' }])
  restored.rows.set('bob', [{ email: 'bob@acme.example', note: 'm' }])
  const forgotten: string[] = []
  const records = createMemoryRecords()
  const second = await createApp(t, {
    ledger,
    records,
    sources: [restored.source],
    forget: async (subject) => void forgotten.push(subject),
  })
  t.same(restored.rows.get('ann'), erased, 'with the same values as before')
  t.match(restored.rows.get('bob'), [{ email: 'bob@acme.example' }])
  t.same(forgotten, ['ann'])
  t.same(await second.app.privacy.replay(), { entries: 0, subjects: 0 }, 'once')
  const third = await createApp(t, { ledger, records, sources: [restored.source] })
  t.same(third.events, [])
  t.equal(restored.plans.length, 1)
})

await t.test('no request is answered before the erasures of the ledger are repeated', async (t) => {
  const ledger = createMemoryLedger()
  const app = await createApp(t, { ledger })
  const id = await openConfirmed(app, 'ann', 'erasure')
  await app.until(id, 'completed')
  let finish!: () => void
  const finished = new Promise<void>((resolve) => (finish = resolve))
  const restored = createTable('users')
  const steps: string[] = []
  const { erase } = restored.source
  const slow = createTable('slow', {
    async erase(...args) {
      steps.push('erase')
      await finished
      await erase!(...args)
      steps.push('erased')
    },
  })
  restored.rows.set('ann', [{ email: 'ann@acme.example', note: 'n' }])
  slow.rows.set('ann', [])
  const second = Fastify()
  t.after(() => second.close())
  const sources = [slow.source]
  await second.register(privacy, { ...base(), ledger, records: createMemoryRecords(), sources })
  second.addHook('onReady', async () => void steps.push('ready'))
  second.get('/users/ann', async () => restored.rows.get('ann'))
  const listening = second.listen({ port: 0, host: '127.0.0.1' }).then((url) => {
    steps.push('listens')
    return url
  })
  const early = second.inject('/users/ann').then((reply) => {
    steps.push('answers')
    return reply.body
  })
  await waitFor(() => steps.includes('erase'))
  for (let turn = 0; turn < 100; turn++) await new Promise((resolve) => setImmediate(resolve))
  t.same(steps, ['erase'])
  t.notOk(second.server.listening, 'the port is closed')
  finish()
  const body = await (await fetch(`${await listening}/users/ann`)).text()
  t.notMatch(body, /ann@/)
  t.notMatch(await early, /ann@/)
  t.same(steps.slice(0, 3), ['erase', 'erased', 'ready'])
})

await t.test('a replay that fails stops the boot', async (t) => {
  const ledger = createMemoryLedger()
  const app = await createApp(t, { ledger })
  const id = await openConfirmed(app, 'ann', 'erasure')
  await app.until(id, 'completed')
  const restored = createTable('users', { erase: async () => Promise.reject(new Error('away')) })
  restored.rows.set('ann', [{ email: 'ann@acme.example', note: 'n' }])
  const records = createMemoryRecords()
  const boot = async () => {
    const second = Fastify()
    t.after(() => second.close())
    await second.register(privacy, { ...base(), ledger, records, sources: [restored.source] })
    await second.ready()
  }
  await t.rejects(boot(), /away/)
  await t.rejects(boot(), /away/, 'and again, until it succeeds')
})

await t.test(
  'an entry that was forged, changed, or written with another secret stops the boot',
  async (t) => {
    const entry = { id: '01890a5d-ac96-774b-bcce-b302099a8057', reference: 'x'.repeat(43), at: 5 }
    const good = writeEntry(entry, createPseudonyms(Buffer.from(SECRET, 'base64url')))
    t.same(readEntry(good, createPseudonyms(Buffer.from(SECRET, 'base64url'))), entry)
    const lines = [
      good.replace('"at":5', '"at":6'),
      good.replace('x', 'y'),
      `${good} `,
      good.replace('{', '{"x":1,'),
      writeEntry(entry, createPseudonyms(Buffer.alloc(32))),
      '{}',
      'null',
      'no json',
    ]
    for (const line of lines) {
      const ledger: Ledger = {
        append: async () => undefined,
        async *read() {
          yield [line]
        },
      }
      const app = Fastify()
      t.after(() => app.close())
      await app.register(privacy, { ...base(), ledger })
      await t.rejects(async () => app.ready(), { code: 'PARAPET_PRIVACY_LEDGER_DAMAGED' }, line)
    }
  },
)

await t.test('the file ledger keeps whole lines, and drops one that a crash cut off', async (t) => {
  const path = join(temporaryFolder(t), 'ledger', 'erasures.jsonl')
  const ledger = createFileLedger(path)
  t.same(await readAll(ledger), [])
  await Promise.all(['one', 'two', 'three'].map((line) => ledger.append(line, line)))
  t.same(await readAll(ledger), ['one', 'two', 'three'])
  appendFileSync(path, 'fo')
  t.same(await readAll(createFileLedger(path)), ['one', 'two', 'three'])
  await createFileLedger(path).append('five', 'five')
  t.equal(readFileSync(path, 'utf8'), 'one\ntwo\nthree\nfive\n')
  for (let line = 0; line < 1100; line++) appendFileSync(path, `${line}\n`)
  t.equal((await readAll(ledger)).length, 1104)
})

await t.test('the ledger holds no personal data', async (t) => {
  const lines: string[] = []
  const ledger = {
    ...createMemoryLedger(),
    append: async (_id: string, line: string) => void lines.push(line),
  }
  const app = await createApp(t, { ledger })
  app.tables.users.rows.set('ann', [{ email: 'ann@acme.example', note: 'n' }])
  const id = await openConfirmed(app, 'ann', 'erasure')
  await app.until(id, 'completed')
  t.equal(lines.length, 1)
  t.notMatch(lines[0], /ann|acme/)
})

function base() {
  return { controller: CONTROLLER, secret: SECRET, keys: KEYS, deliver: async () => undefined }
}

async function readAll(ledger: Ledger): Promise<string[]> {
  const lines: string[] = []
  for await (const batch of ledger.read()) lines.push(...batch)
  return lines
}

function temporaryFolder(t: Test): string {
  const folder = mkdtempSync(join(tmpdir(), 'parapet-privacy-'))
  t.after(() => rmSync(folder, { recursive: true, force: true }))
  return folder
}
