import { renameSync, readFileSync } from 'node:fs'
import { createServer, type RequestListener } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { sinks } from '@parapet/audit-log'
import { createManualClock } from '@parapet/kit'
import t, { type Test } from 'tap'
import { parseVerifierKey } from '../src/log/signed-note.ts'
import { urlReader } from '../src/mirror/readers.ts'
import { StoreHealth } from '../src/pipeline/store-health.ts'
import { verifyExport } from '../src/verify/verify-export.ts'
import { createApp, named, useFolder, verify } from './support.ts'

const DAY_MS = 86_400_000
const now = () => 0

async function serve(t: Test, listener: RequestListener): Promise<string> {
  const server = createServer(listener)
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.after(() => {
    server.closeAllConnections()
    server.close()
  })
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}/`
}

await t.test('a mirror that hangs or drips ends at the deadline, with its URL', async (t) => {
  const hung = await serve(t, () => {})
  await t.rejects(urlReader(hung, {}, 50)('checkpoint'), {
    message: `${hung}checkpoint did not answer within 50 ms`,
  })
  const drips = await serve(t, (_request, response) => {
    response.writeHead(200)
    const timer = setInterval(() => response.write('x'), 5)
    response.on('close', () => clearInterval(timer))
  })
  await t.rejects(urlReader(drips, {}, 50)('checkpoint'), /did not answer within 50 ms/)
  const refused = 'http://127.0.0.1:9/'
  await t.rejects(urlReader(refused, {}, 5000)('checkpoint'), {
    message: `${refused}checkpoint cannot be read`,
  })
})

async function* linesOf(lines: readonly string[]): AsyncGenerator<string> {
  yield* lines
}

await t.test('an empty export proves nothing, and a repeated line is named', async (t) => {
  const app = await createApp(t, { alerts: [] })
  for (let n = 0; n < 5; n++) await app.audit.record('thing.act', {})
  await app.audit.flush()
  let text = ''
  for await (const part of await app.audit.export({ format: 'ndjson', proofs: true })) text += part
  const lines = text.trimEnd().split('\n')
  const keys = [parseVerifierKey(app.audit.verifierKey)!]
  const check = (given: readonly string[]) => verifyExport(linesOf(given), keys, now)
  t.equal((await check(lines)).exitCode, 0)
  t.match(await check([]), { exitCode: 2, findings: [{ kind: 'gap', detail: /empty/ }] })
  t.same(named(await check([lines[0]!, lines[1]!, lines[0]!])), ['reordered 5'])
  t.same(named(await check([lines[1]!, lines[0]!])), ['reordered 5'])
})

await t.test('a file that logrotate moved is opened again', async (t) => {
  const path = join(useFolder(t), 'audit.ndjson')
  const app = await createApp(t, { sinks: [sinks.file({ path })], alerts: [] })
  await app.audit.record('thing.first', {})
  await app.audit.flush()
  renameSync(path, `${path}.1`)
  await app.audit.record('thing.second', {})
  await app.audit.flush()
  t.match(readFileSync(`${path}.1`, 'utf8'), /thing\.first/)
  t.notMatch(readFileSync(`${path}.1`, 'utf8'), /thing\.second/)
  t.match(readFileSync(path, 'utf8'), /thing\.second/)
})

await t.test('one part that works does not hide another that fails', (t) => {
  const events: string[] = []
  const health = new StoreHealth(now, { emit: (type: string) => events.push(type) } as never)
  health.fail('ship', new Error('no room'))
  health.succeed('sequence')
  t.same([health.isUp, health.reason], [false, 'no room'])
  health.fail('sequence', new Error('down'))
  health.succeed('ship')
  t.same([health.isUp, health.reason], [false, 'down'])
  health.succeed('sequence')
  t.same([health.isUp, health.reason], [true, undefined])
  t.same(events, ['audit_log.store_lost', 'audit_log.store_recovered'])
  t.end()
})

await t.test('a pruning by a clock that was ahead is reported', async (t) => {
  const start = 1_700_000_000_000
  const clock = createManualClock(start)
  const app = await createApp(t, { clock, retention: { days: 30 }, alerts: [] })
  await Promise.all(Array.from({ length: 300 }, () => app.audit.record('thing.act', {})))
  await app.audit.flush()
  const { store } = app.audit.parts
  const ahead = 100 * DAY_MS
  clock.advance(ahead)
  t.equal((await app.audit.prune()).entries, 256)
  await app.audit.flush()
  t.same(named(await verify(store, app.audit.verifierKey)), [], 'time may have passed')
  await app.close()
  const back = createManualClock(start + 2 * DAY_MS)
  const again = await createApp(t, { clock: back, directory: app.folder, alerts: [] })
  await again.audit.flush()
  const found = await verify(again.audit.parts.store, app.audit.verifierKey)
  t.match(found, { exitCode: 1, counts: { statement: 1 } })
  t.match(found.findings[0]?.detail, /the clock was ahead/)
})
