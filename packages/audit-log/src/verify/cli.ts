#!/usr/bin/env node
/** The command `audit-log verify`: verifies a log with its public key. */
import { access, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { createSqlClient } from '@parapet/kit'
import { PARAPET_AUDIT_LOG_CORRUPT } from '../errors.ts'
import type { LogStore } from '../log/log-store.ts'
import { parseVerifierKey, type NoteKey } from '../log/signed-note.ts'
import { DirectoryStore } from '../store/directory.ts'
import { PostgresStore } from '../store/postgres.ts'
import { formatReport } from './report.ts'
import { verifyLog } from './verify-log.ts'

const USAGE = `audit-log verify (--dir FOLDER | --database-url URL) --key KEY [--checkpoint FILE] [--json]

  --dir FOLDER        the folder of the log, or the option "directory" of the plugin
  --database-url URL  the PostgreSQL database of the log (needs the package "pg")
  --key KEY           a public key to trust (app.audit.verifierKey), or a file with one; repeatable
  --checkpoint FILE   a checkpoint that was kept elsewhere; the log must continue it
  --json              print the report as JSON

exit codes: 0 valid, 1 tampered, 2 incomplete, 3 untrusted key, 64 wrong usage
`
const WRONG_USAGE = 64
const BAR_WIDTH = 40

class UsageError extends Error {}

async function main(): Promise<number> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      dir: { type: 'string' },
      'database-url': { type: 'string' },
      key: { type: 'string', multiple: true },
      checkpoint: { type: 'string' },
      json: { type: 'boolean' },
    },
  })
  if (positionals.join(' ') !== 'verify') throw new UsageError('the command must be "verify"')
  const keys = await Promise.all((values.key ?? []).map(readKey))
  const pinned = values.checkpoint && (await readFile(values.checkpoint, 'utf8'))
  const { store, close } = await openStore(values.dir, values['database-url'])
  try {
    await store.open()
    const report = await verifyLog({
      store,
      keys,
      now: () => performance.now(),
      onProgress: showProgress,
      ...(pinned ? { pinned } : undefined),
    })
    clearProgress()
    process.stdout.write(
      values.json === true ? `${JSON.stringify(report)}\n` : formatReport(report),
    )
    return report.exitCode
  } finally {
    await store.close()
    await close()
  }
}

async function readKey(text: string): Promise<NoteKey> {
  const key =
    parseVerifierKey(text) ??
    parseVerifierKey((await readFile(text, 'utf8').catch(() => '')).trim())
  if (key === undefined)
    throw new UsageError('--key must be a public key or a file that contains one')
  return key
}

async function openStore(
  folder: string | undefined,
  url: string | undefined,
): Promise<{ store: LogStore; close: () => Promise<void> }> {
  if ((folder === undefined) === (url === undefined)) {
    throw new UsageError('exactly one of --dir and --database-url must be given')
  }
  if (folder !== undefined) {
    const inner = join(folder, 'log')
    const hasInner = await access(join(inner, 'state.json')).then(
      () => true,
      () => false,
    )
    return { store: new DirectoryStore(hasInner ? inner : folder, '', true), close: async () => {} }
  }
  const { default: pg } = await import('pg')
  const pool = new pg.Pool({ connectionString: url, max: 1 })
  pool.on('error', () => {})
  return { store: new PostgresStore(createSqlClient(pool), '', false), close: () => pool.end() }
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
