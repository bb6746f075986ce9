/** The cost of the consent guard, and the speed of an export on one core. */
import { Writable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { createLocalCipher, generateCipherKey, parseCipherKeys, systemClock } from '@parapet/kit'
import { privacy } from '@parapet/privacy'
import { goal, pairedBench } from '@parapet/testing'
import Fastify, { type FastifyInstance } from 'fastify'
import { createMemoryParts } from '../src/export/archive-parts.ts'
import { writeArchive } from '../src/export/archive.ts'
import { collectSource, noProgress } from '../src/export/collect.ts'
import type { SourceProgress } from '../src/requests/request.ts'
import { SourceRegistry } from '../src/sources/registry.ts'

const ann = { id: 'ann', roles: ['user'] }
const keys = generateCipherKey()

function createApp(): FastifyInstance {
  const app = Fastify()
  app.decorateRequest('principal', null)
  app.addHook('onRequest', async (request) => {
    request.principal = ann
  })
  return app
}

async function benchGuard(): Promise<void> {
  const bare = createApp()
  bare.get('/', async () => 'here')
  const guarded = createApp()
  await guarded.register(privacy, {
    controller: { name: 'Acme', contact: 'privacy@example.org' },
    secret: Buffer.alloc(32, 1).toString('base64url'),
    keys,
    deliver: async () => undefined,
    consentCacheMs: 60_000,
    purposes: { mail: { title: 'Mail', noticeVersion: '1', noticeText: 'We send mail.' } },
  })
  guarded.get('/', { config: { consent: 'mail' } }, async () => 'here')
  await Promise.all([bare.ready(), guarded.ready()])
  const decision = { subject: 'ann', purpose: 'mail', by: 'subject' } as const
  await guarded.privacy.consents.record({ ...decision, state: 'granted' })
  const result = await pairedBench({
    time: 'cpu',
    minMs: 100,
    cases: {
      'a bare route': async () => bare.inject('/'),
      'a route with a consent': async () => guarded.inject('/'),
    },
  })
  console.log(result.table)
  const { median } = result.ratio('a route with a consent', 'a bare route')
  const bareMicroseconds = await microsecondsOf(() => bare.inject('/'))
  goal('privacy-guard-us', Number(((median - 1) * bareMicroseconds).toFixed(2)), 5)
  await Promise.all([bare.close(), guarded.close()])
}

async function microsecondsOf(run: () => Promise<unknown>): Promise<number> {
  const [rounds, begin] = [3000, process.cpuUsage()]
  for (let round = 0; round < rounds; round++) await run()
  const { user, system } = process.cpuUsage(begin)
  return (user + system) / rounds
}

async function benchExport(): Promise<void> {
  const records = 48 * 1024
  const text = 'the quick brown fox jumps over the lazy dog '.repeat(22)
  const registry = new SourceRegistry()
  registry.register({
    name: 'events',
    purpose: 'A benchmark',
    legalBasis: 'contract',
    categories: ['user'],
    retentionDays: null,
    storedIn: 'memory',
    fields: { text: 'delete' },
    *collect() {
      for (let n = 0; n < records; n++) yield { n, at: 1_700_000_000_000 + n, text }
    },
  })
  const source = registry.all[0]!
  const cipher = createLocalCipher(parseCipherKeys(keys))
  const parts = createMemoryParts(512 * 1_048_576)
  const ports = { parts, cipher, clock: systemClock, deadlineMs: 60_000 }
  let progress: SourceProgress = noProgress('events')
  const save = async (next: SourceProgress) => {
    progress = next
    return true
  }
  const { signal } = new AbortController()
  const begin = process.cpuUsage()
  await collectSource(ports, { request: 'r', subject: 's', source, progress, signal, save })
  const collected = process.cpuUsage(begin)
  const sources = [{ progress, source }]
  const content = {
    request: 'r',
    type: 'access',
    controller: 'Acme',
    createdAt: Date.now(),
    sources,
  }
  const discard = new Writable({ write: (_chunk, _encoding, done) => done() })
  await pipeline(writeArchive(ports, content), discard)
  const all = process.cpuUsage(begin)
  // The NDJSON and the CSV hold the records once each.
  const megabytes = (2 * progress.bytes) / 1_048_576
  console.log(
    `collect: ${(progress.bytes / 1_048_576 / seconds(collected)).toFixed(0)} MB/s of CPU`,
  )
  goal('privacy-export-mb-s', Math.round(megabytes / seconds(all)), 50, 'at-least')
}

function seconds({ user, system }: NodeJS.CpuUsage): number {
  return (user + system) / 1e6
}

await benchGuard()
await benchExport()
