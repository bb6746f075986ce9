#!/usr/bin/env node
/** `audit-log verify`: for whoever was handed a log and its public key. */
import { access, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { createSqlClient } from '@parapet/kit'
import { PARAPET_AUDIT_LOG_CORRUPT } from './errors.ts'
import { parseVerifierKey, type NoteKey } from './log/note.ts'
import { DirectoryStore } from './store/directory.ts'
import type { LogStore } from './store/log-store.ts'
import { PostgresStore } from './store/log-store-postgres.ts'
import { formatReport } from './verify/report.ts'
import { verifyLog } from './verify/verifier.ts'

const USAGE = `audit-log verify (--dir FOLDER | --database-url URL) --key KEY [--checkpoint FILE] [--json]

  --dir FOLDER        the folder of the log, or the one the plugin was given
  --database-url URL  the PostgreSQL database that holds the log (needs the package "pg")
  --key KEY           a public key to trust, as app.audit.verifierKey tells it, or a file that holds it; repeatable
  --checkpoint FILE   a checkpoint that was kept elsewhere: the log must continue it
  --json              the report as JSON

exit codes: 0 sound, 1 tampered, 2 incomplete, 3 untrusted key, 64 wrong usage
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
  if (positionals.join(' ') !== 'verify') throw new UsageError('the only command is "verify"')
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
  if (key === undefined) throw new UsageError('--key is neither a public key nor a file with one')
  return key
}

async function openStore(
  folder: string | undefined,
  url: string | undefined,
): Promise<{ store: LogStore; close: () => Promise<void> }> {
  if ((folder === undefined) === (url === undefined)) {
    throw new UsageError('give either --dir or --database-url')
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
