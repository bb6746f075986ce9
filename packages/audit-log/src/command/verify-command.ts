/** `audit-log verify`: reads a log, an export or a proof, and prints what was found. */
import { open, readFile } from 'node:fs/promises'
import type { Values } from './arguments.ts'
import { nameKeys, readKey, readWitnessKey, type GivenKey } from './keys.ts'
import {
  openDatabase,
  openDirectory,
  openPglite,
  openUrl,
  readServed,
  type Source,
} from './sources.ts'
import { UsageError } from './usage.ts'
import { PARAPET_AUDIT_LOG_CORRUPT } from '../errors.ts'
import type { NoteKey } from '../log/signed-note.ts'
import { parseTlogProof } from '../log/tlog-proof.ts'
import { formatReport, type VerifyReport } from '../verify/report.ts'
import { verifyExport, verifyProof } from '../verify/verify-export.ts'
import { verifyLog } from '../verify/verify-log.ts'

const BAR_WIDTH = 40

/** The database drivers, which are no dependencies: only who uses such a database has its driver. */
export interface Drivers {
  readonly createPool: (url: string) => Promise<Parameters<typeof openDatabase>[0]>
  readonly createPglite: Parameters<typeof openPglite>[1]
}

/** Verifies the source that the options name, and prints the report. @returns the exit code */
export async function verifyCommand(values: Values, drivers: Drivers): Promise<number> {
  const keys = await Promise.all((values.key ?? []).map(readKey))
  const witnesses = await Promise.all((values.witness ?? []).map(readWitnessKey))
  const report = await verifyGiven(values, drivers, keys, witnesses).catch((error: unknown) => {
    // What a server answers proves nothing about the log: it may be a login page.
    if (values.url === undefined || !(error instanceof PARAPET_AUDIT_LOG_CORRUPT)) throw error
    throw new Error(`${values.url} is no mirror of a log: ${error.message}`)
  })
  const text = values.json === true ? `${JSON.stringify(report)}\n` : formatReport(report)
  process.stdout.write(text)
  return report.exitCode
}

function verifyGiven(
  values: Values,
  drivers: Drivers,
  keys: readonly GivenKey[],
  witnesses: readonly NoteKey[],
): Promise<VerifyReport> {
  if (values['witness-url'] !== undefined && witnesses.length === 0) {
    throw new UsageError('--witness must name the key of the witness at --witness-url')
  }
  const { export: exported, proof } = values
  if (exported === undefined && proof === undefined)
    return verifySource(values, drivers, keys, witnesses)
  if (sourcesOf(values, drivers).length > 0 || (exported !== undefined && proof !== undefined)) {
    throw new UsageError(ONE_SOURCE)
  }
  return exported === undefined
    ? verifyProofFile(proof!, values, keys, witnesses)
    : verifyExportFile(exported, keys, witnesses)
}

async function verifySource(
  values: Values,
  drivers: Drivers,
  keys: readonly GivenKey[],
  witnesses: readonly NoteKey[],
): Promise<VerifyReport> {
  const pinned =
    values.checkpoint === undefined ? undefined : await readFile(values.checkpoint, 'utf8')
  const { log, close } = await openSource(values, drivers)
  try {
    const origin = (await log.state())?.origin ?? ''
    const url = values['witness-url']
    const report = await verifyLog({
      store: log,
      witnesses,
      isForeign: values.foreign === true,
      ...(url === undefined ? undefined : { served: await readServed(url, origin) }),
      keys: nameKeys(keys, origin),
      now: () => performance.now(),
      onProgress: showProgress,
      retentionDays: readDays(values.retention),
      ...(pinned === undefined ? undefined : { pinned }),
    })
    clearProgress()
    return report
  } finally {
    await close()
  }
}

/** An export has no state; its checkpoints name the log. */
async function verifyExportFile(
  path: string,
  keys: readonly GivenKey[],
  witnesses: readonly NoteKey[],
): Promise<VerifyReport> {
  const named = nameKeys(keys, await originOfExport(path))
  const file = await open(path)
  try {
    return await verifyExport(file.readLines(), named, () => performance.now(), witnesses)
  } finally {
    await file.close()
  }
}

async function verifyProofFile(
  path: string,
  { entry }: Values,
  keys: readonly GivenKey[],
  witnesses: readonly NoteKey[],
): Promise<VerifyReport> {
  const text = await readFile(path, 'utf8')
  const origin = parseTlogProof(text)?.checkpoint.split('\n', 1)[0] ?? ''
  const bytes = entry === undefined ? undefined : await readFile(entry)
  return verifyProof(text, nameKeys(keys, origin), () => performance.now(), witnesses, bytes)
}

async function originOfExport(path: string): Promise<string> {
  const file = await open(path)
  try {
    for await (const line of file.readLines()) {
      const { checkpoint } = JSON.parse(line) as { checkpoint?: string }
      return checkpoint?.split('\n', 1)[0] ?? ''
    }
    return ''
  } catch (error) {
    if (error instanceof SyntaxError) return ''
    throw error
  } finally {
    await file.close()
  }
}

function sourcesOf(values: Values, drivers: Drivers): (() => Source | Promise<Source>)[] {
  const { pglite, url } = values
  const isForeign = values.foreign === true
  const folder = values.directory ?? values.dir
  const database = values.database ?? values['database-url']
  return [
    ...(folder === undefined ? [] : [() => openDirectory(folder, isForeign)]),
    ...(database === undefined
      ? []
      : [async () => openDatabase(await drivers.createPool(database))]),
    ...(pglite === undefined ? [] : [() => openPglite(pglite, drivers.createPglite)]),
    ...(url === undefined ? [] : [() => openUrl(url, values.header ?? [], isForeign)]),
  ]
}

async function openSource(values: Values, drivers: Drivers): Promise<Source> {
  const [open, second] = sourcesOf(values, drivers)
  if (open === undefined || second !== undefined) throw new UsageError(ONE_SOURCE)
  return open()
}

const ONE_SOURCE =
  'exactly one of --directory, --database, --pglite, --url, --export and --proof must be given'

function readDays(text: string | undefined): number {
  if (text === undefined) return 0
  if (/^\d{1,5}$/.test(text)) return Number(text)
  throw new UsageError('--retention must be a number of days')
}

function showProgress(done: number, size: number): void {
  if (!process.stderr.isTTY) return
  const filled = Math.round((done / size) * BAR_WIDTH)
  const bar = '#'.repeat(filled).padEnd(BAR_WIDTH, '.')
  process.stderr.write(`\r [${bar}] ${done} of ${size}`)
}

function clearProgress(): void {
  if (process.stderr.isTTY) process.stderr.write('\r\u001b[K')
}
