/**
 * A program that collects or packs a large archive in a folder, for a test that kills it:
 * `large-archive.ts collect|pack <folder> <megabytes>`. It prints a line for each recorded part, and at its
 * end the memory that it used, by the heap and by the operating system, and its time.
 */
import { createWriteStream, existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { createLocalCipher, systemClock } from '@parapet/kit'
import { createFolderParts } from '@parapet/privacy'
import { writeArchive } from '../src/export/archive.ts'
import { collectSource, noProgress } from '../src/export/collect.ts'
import type { SourceProgress } from '../src/requests/request.ts'
import { SourceRegistry } from '../src/sources/registry.ts'

const [step, folder = '', megabytes = '1'] = process.argv.slice(2)
const total = Number(megabytes) * 1024
const text = 'the quick brown fox jumps over the lazy dog '.repeat(22)
const state = join(folder, 'progress.json')
const registry = new SourceRegistry()
registry.register({
  name: 'events',
  purpose: 'A test',
  legalBasis: 'contract',
  categories: ['user'],
  retentionDays: null,
  storedIn: 'memory',
  fields: { text: 'delete' },
  cursorOf: ({ n }) => JSON.stringify(n),
  *collect(_subject, { after }) {
    for (let n = after === undefined ? 0 : Number(after) + 1; n < total; n++) yield { n, text }
  },
})
const source = registry.all[0]!
const ports = {
  parts: createFolderParts(join(folder, 'parts')),
  cipher: createLocalCipher([{ id: 1, secret: Buffer.alloc(32, 1) }]),
  clock: systemClock,
  deadlineMs: 60_000,
}
let [peak, resident] = [0, 0]
const [before, residentBefore, begin] = [memory(), process.memoryUsage.rss(), performance.now()]

function memory(): number {
  const { heapUsed, external } = process.memoryUsage()
  return heapUsed + external
}

function watch(): void {
  peak = Math.max(peak, memory())
  resident = Math.max(resident, process.memoryUsage.rss())
}

async function collect(): Promise<void> {
  const progress = existsSync(state)
    ? (JSON.parse(readFileSync(state, 'utf8')) as SourceProgress)
    : noProgress('events')
  const save = async (next: SourceProgress): Promise<boolean> => {
    writeFileSync(`${state}.new`, JSON.stringify(next))
    renameSync(`${state}.new`, state)
    watch()
    process.stdout.write(`part ${next.parts}\n`)
    return true
  }
  const { signal } = new AbortController()
  await collectSource(ports, { request: 'r', subject: 's', source, progress, signal, save })
}

async function pack(): Promise<void> {
  const progress = JSON.parse(readFileSync(state, 'utf8')) as SourceProgress
  const sources = [{ progress, source }]
  const content = { request: 'r', type: 'access', controller: 'Acme', createdAt: 1.7e12, sources }
  const stream = writeArchive(ports, content)
  stream.on('data', watch)
  stream.pause()
  await pipeline(stream, createWriteStream(join(folder, 'archive.zip')))
}

await (step === 'pack' ? pack() : collect())
const inMegabytes = (bytes: number): number => Math.round(bytes / 1_048_576)
const seconds = (performance.now() - begin) / 1000
const [used, grown] = [inMegabytes(peak - before), inMegabytes(resident - residentBefore)]
process.stdout.write(`used ${used} MB, resident ${grown} MB more, ${seconds.toFixed(0)} s\n`)
