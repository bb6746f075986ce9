#!/usr/bin/env node
/** The command `audit-log`: verifies a log with its public key, and prints that key. */
import { open, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { PARAPET_AUDIT_LOG_CORRUPT } from '../errors.ts'
import { nameKeys, readKey, verifierKeyOf, type GivenKey } from '../command/keys.ts'
import { requestRecovery } from '../pipeline/recover.ts'
import { ownFolder } from '../wal/own-folder.ts'
import { formatReport, type VerifyReport } from './report.ts'
import {
  openDatabase,
  openDirectory,
  openPglite,
  openUrl,
  type Source,
} from '../command/sources.ts'
import { USAGE, UsageError } from '../command/usage.ts'
import { verifyExport } from './verify-export.ts'
import { verifyLog } from './verify-log.ts'

const OPTIONS = {
  directory: { type: 'string' },
  dir: { type: 'string' },
  database: { type: 'string' },
  'database-url': { type: 'string' },
  pglite: { type: 'string' },
  url: { type: 'string' },
  export: { type: 'string' },
  header: { type: 'string', multiple: true },
  key: { type: 'string', multiple: true },
  checkpoint: { type: 'string' },
  retention: { type: 'string' },
  origin: { type: 'string' },
  json: { type: 'boolean' },
  yes: { type: 'boolean' },
  help: { type: 'boolean', short: 'h' },
} as const
type Values = ReturnType<typeof parseArgs<{ options: typeof OPTIONS }>>['values']

const WRONG_USAGE = 64
const BAR_WIDTH = 40

async function main(): Promise<number> {
  const { values, positionals } = parseArgs({ allowPositionals: true, options: OPTIONS })
  if (values.help === true) {
    process.stdout.write(USAGE)
    return 0
  }
  const folder = values.directory ?? values.dir
  switch (positionals.join(' ')) {
    case 'verify':
      return verifyCommand(values)
    case 'key':
      if (folder === undefined) throw new UsageError('--directory must be given')
      process.stdout.write(`${await verifierKeyOf(folder, values.origin)}\n`)
      return 0
    case 'recover':
      if (folder === undefined) throw new UsageError('--directory must be given')
      return recoverCommand(folder, values.yes === true)
    default:
      throw new UsageError('the command must be "verify", "key" or "recover"')
  }
}

/** Needs `--yes`: the entries that the store lost stay lost. */
async function recoverCommand(folder: string, isSure: boolean): Promise<number> {
  if (!isSure) throw new UsageError('--yes must confirm that the lost entries are given up')
  const release = await ownFolder(join(folder, 'spool'))
  try {
    await requestRecovery(folder)
  } finally {
    await release()
  }
  process.stdout.write('The next start of the app continues the log, and records what is lost.\n')
  return 0
}

async function verifyCommand(values: Values): Promise<number> {
  const keys = await Promise.all((values.key ?? []).map(readKey))
  const report =
    values.export === undefined
      ? await verifySource(values, keys)
      : await verifyFile(values.export, values, keys)
  const text = values.json === true ? `${JSON.stringify(report)}\n` : formatReport(report)
  process.stdout.write(text)
  return report.exitCode
}

async function verifySource(values: Values, keys: readonly GivenKey[]): Promise<VerifyReport> {
  const pinned =
    values.checkpoint === undefined ? undefined : await readFile(values.checkpoint, 'utf8')
  const { log, close } = await openSource(values)
  try {
    const origin = (await log.state())?.origin ?? ''
    const report = await verifyLog({
      store: log,
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
async function verifyFile(
  path: string,
  values: Values,
  keys: readonly GivenKey[],
): Promise<VerifyReport> {
  refuseSecondSource(values)
  const origin = await originOfExport(path)
  const file = await open(path)
  try {
    return await verifyExport(file.readLines(), nameKeys(keys, origin), () => performance.now())
  } finally {
    await file.close()
  }
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

function sourcesOf(values: Values): (() => Source | Promise<Source>)[] {
  const { pglite, url } = values
  const folder = values.directory ?? values.dir
  const database = values.database ?? values['database-url']
  return [
    ...(folder === undefined ? [] : [() => openDirectory(folder)]),
    ...(database === undefined ? [] : [async () => openDatabase(await createPool(database))]),
    ...(pglite === undefined ? [] : [() => openPglite(pglite, createPglite)]),
    ...(url === undefined ? [] : [() => openUrl(url, values.header ?? [])]),
  ]
}

/** The drivers are not dependencies: only who uses such a database has its driver. */
async function createPool(connectionString: string) {
  const { default: pg } = await import('pg')
  const pool = new pg.Pool({ connectionString, max: 1 })
  pool.on('error', () => {})
  return pool
}

async function createPglite(folder: string) {
  const { PGlite } = await import('@electric-sql/pglite')
  return PGlite.create(folder)
}

async function openSource(values: Values): Promise<Source> {
  const [open, second] = sourcesOf(values)
  if (open === undefined || second !== undefined) throw new UsageError(ONE_SOURCE)
  return open()
}

function refuseSecondSource(values: Values): void {
  if (sourcesOf(values).length > 0) throw new UsageError(ONE_SOURCE)
}

const ONE_SOURCE =
  'exactly one of --directory, --database, --pglite, --url and --export must be given'

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

try {
  process.exitCode = await main()
} catch (error) {
  const isUsage =
    error instanceof UsageError || (error as { code?: string }).code?.startsWith('ERR_PARSE_ARGS')
  process.stderr.write(`${(error as Error).message}\n${isUsage === true ? `\n${USAGE}` : ''}`)
  const isDamaged = error instanceof PARAPET_AUDIT_LOG_CORRUPT
  process.exitCode = isUsage === true ? WRONG_USAGE : isDamaged ? 1 : 2
}
