/** Writes an archive as a ZIP stream: its parts are opened one after the other, and never kept. */
import { createHash } from 'node:crypto'
import { Readable } from 'node:stream'
import { withDeadline, type Cipher, type Clock } from '@parapet/kit'
import { ZipFile } from 'yazl'
import { PARAPET_PRIVACY_ARCHIVE_EXPIRED, PARAPET_PRIVACY_TIMEOUT } from '../errors.ts'
import type { SourceProgress } from '../requests/request.ts'
import type { RegisteredSource, SourceRecord } from '../sources/source.ts'
import type { ArchiveParts } from './archive-parts.ts'
import { contextOfPart } from './collect.ts'
import { writeCsvRecord, writeCsvRow } from './csv.ts'
import {
  CLOSE_PAGE,
  CLOSE_TABLE,
  openPage,
  openTable,
  PAGE_RECORDS,
  writeTableRow,
} from './readable-page.ts'

/** What writing an archive needs. */
export interface ArchivePorts {
  readonly parts: ArchiveParts
  readonly cipher: Cipher
  readonly clock: Clock
  readonly deadlineMs: number
}

/** What an archive says. */
export interface ArchiveContent {
  readonly request: string
  readonly type: string
  readonly controller: string
  /** Milliseconds since the Unix epoch. */
  readonly createdAt: number
  readonly sources: readonly {
    readonly progress: SourceProgress
    /** `undefined`: it was removed from the registry meanwhile. */
    readonly source: RegisteredSource | undefined
  }[]
}

interface ManifestFile {
  readonly path: string
  readonly bytes: number
  readonly sha256: string
}

/** Deflate at this level makes about a quarter of it, at the speed of the disk. */
const COMPRESSION = 1

/** Makes the stream. It fails if a part is missing or cannot be opened. */
export function writeArchive(ports: ArchivePorts, content: ArchiveContent): Readable {
  const zip = new ZipFile()
  const { outputStream } = zip as unknown as { readonly outputStream: Readable }
  // The first part may fail before the response listens.
  outputStream.on('error', () => undefined)
  const files: ManifestFile[] = []
  const mtime = new Date(content.createdAt)
  const add = (path: string, chunks: () => AsyncIterable<string | Buffer>): void => {
    zip.addReadStreamLazy(path, { mtime, compressionLevel: COMPRESSION }, (begin) => {
      const stream = Readable.from(measured(path, chunks(), files), { objectMode: false })
      // yazl pipes: it forwards neither an error, nor the end of a client that has gone.
      stream.on('error', (error) => outputStream.destroy(error))
      const stop = (): void => void stream.destroy()
      outputStream.once('close', stop)
      stream.once('close', () => outputStream.off('close', stop))
      begin(null, stream)
    })
  }
  for (const { progress } of content.sources) {
    add(`data/${progress.name}.ndjson`, () => readTexts(ports, content.request, progress))
    add(`data/${progress.name}.csv`, () => writeCsv(ports, content.request, progress))
  }
  add('index.html', () => writePage(ports, content))
  add('manifest.json', () => writeManifest(content, files))
  zip.end()
  return outputStream
}

/** Passes chunks on, and notes the size and the hash of the file at its end. */
async function* measured(
  path: string,
  chunks: AsyncIterable<string | Buffer>,
  files: ManifestFile[],
): AsyncIterable<Buffer> {
  const hash = createHash('sha256')
  let bytes = 0
  for await (const chunk of chunks) {
    const buffer = typeof chunk === 'string' ? Buffer.from(chunk) : chunk
    hash.update(buffer)
    bytes += buffer.length
    yield buffer
  }
  files.push({ path, bytes, sha256: hash.digest('hex') })
}

async function* readTexts(
  { parts, cipher, clock, deadlineMs }: ArchivePorts,
  request: string,
  { name, parts: count }: SourceProgress,
): AsyncIterable<Buffer> {
  const late = () => new PARAPET_PRIVACY_TIMEOUT('The storage of archives', deadlineMs)
  for (let part = 0; part < count; part++) {
    const key = { request, source: name, part }
    const sealed = await withDeadline(parts.read(key), deadlineMs, late, clock)
    // It expired while it was downloaded.
    if (sealed === null) throw new PARAPET_PRIVACY_ARCHIVE_EXPIRED()
    yield await cipher.open(sealed, contextOfPart(key))
  }
}

/** The records of each part. */
async function* readRecords(
  ports: ArchivePorts,
  request: string,
  progress: SourceProgress,
): AsyncIterable<SourceRecord[]> {
  for await (const text of readTexts(ports, request, progress)) {
    const lines = text.toString().split('\n')
    yield lines.flatMap((line) => (line === '' ? [] : [JSON.parse(line) as SourceRecord]))
  }
}

async function* writeCsv(
  ports: ArchivePorts,
  request: string,
  progress: SourceProgress,
): AsyncIterable<string> {
  const { columns } = progress
  // The byte order mark makes spreadsheets read UTF-8.
  yield `\ufeff${writeCsvRow(columns)}`
  for await (const records of readRecords(ports, request, progress)) {
    yield records.map((record) => writeCsvRecord(columns, record)).join('')
  }
}

async function* writePage(ports: ArchivePorts, content: ArchiveContent): AsyncIterable<string> {
  const { request, controller, createdAt, sources } = content
  yield openPage(`Your data at ${controller}`, [
    `Request ${request}, collected on ${new Date(createdAt).toISOString()}.`,
    'Each table is also in the folder "data", for programs as NDJSON and for spreadsheets as CSV.',
  ])
  for (const { progress, source } of sources) {
    const purpose = source?.purpose ?? 'No longer collected'
    yield openTable(progress.name, { ...progress, purpose })
    yield* writeRows(ports, request, progress)
    yield CLOSE_TABLE
  }
  yield CLOSE_PAGE
}

async function* writeRows(
  ports: ArchivePorts,
  request: string,
  progress: SourceProgress,
): AsyncIterable<string> {
  let left = PAGE_RECORDS
  for await (const records of readRecords(ports, request, progress)) {
    const shown = records.slice(0, left)
    left -= shown.length
    yield shown.map((record) => writeTableRow(progress.columns, record)).join('')
    if (left === 0) return
  }
}

async function* writeManifest(
  { request, type, controller, createdAt, sources }: ArchiveContent,
  files: readonly ManifestFile[],
): AsyncIterable<string> {
  const described = sources.map(({ progress, source }) => ({
    name: progress.name,
    records: progress.records,
    purpose: source?.purpose ?? null,
    legalBasis: source?.legalBasis ?? null,
    categories: source?.categories ?? [],
    recipients: source?.recipients ?? [],
    retentionDays: source?.retentionDays ?? null,
  }))
  const manifest = {
    format: 'parapet-privacy-archive',
    version: 1,
    request,
    type,
    controller,
    createdAt: new Date(createdAt).toISOString(),
    sources: described,
    files,
  }
  yield `${JSON.stringify(manifest, null, 2)}\n`
}
