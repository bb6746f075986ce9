#!/usr/bin/env node
/** The command `audit-log`: verifies a log with its public key, and prints that key. */
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { PARAPET_AUDIT_LOG_CORRUPT } from '../errors.ts'
import { verifierKeyOf } from './keys.ts'
import { requestRecovery } from '../pipeline/recover.ts'
import { Files } from '../wal/files.ts'
import { ownFolder } from '../wal/own-folder.ts'
import { OPTIONS, type Values } from './arguments.ts'
import { USAGE, UsageError } from './usage.ts'
import { verifyCommand } from './verify-command.ts'

const WRONG_USAGE = 64

async function main(): Promise<number> {
  const { values, positionals } = parseArgs({ allowPositionals: true, options: OPTIONS })
  if (values.help === true) {
    process.stdout.write(USAGE)
    return 0
  }
  const folder = values.directory ?? values.dir
  switch (positionals.join(' ')) {
    case 'verify':
      return verifyCommand(values, { createPool, createPglite })
    case 'key':
      process.stdout.write(`${await keyCommand(values, folder)}\n`)
      return 0
    case 'recover':
      if (folder === undefined) throw new UsageError('--directory must be given')
      return recoverCommand(folder, values.yes === true)
    default:
      throw new UsageError('the command must be "verify", "key" or "recover"')
  }
}

/** The passphrase never comes from the command line, which other users of the machine can read. */
function keyCommand(values: Values, directory: string | undefined): Promise<string> {
  const { 'passphrase-env': passphraseEnv, 'passphrase-file': passphraseFile } = values
  return verifierKeyOf({
    directory,
    file: values.key?.[0],
    origin: values.origin,
    secret: {
      ...(passphraseEnv === undefined ? undefined : { passphraseEnv }),
      ...(passphraseFile === undefined ? undefined : { passphraseFile }),
    },
  })
}

/** Needs `--yes`: the entries that the store lost stay lost. */
async function recoverCommand(folder: string, isSure: boolean): Promise<number> {
  if (!isSure) throw new UsageError('--yes must confirm that the lost entries are given up')
  // A folder without a log would keep the order for the first loss that somebody else should look at.
  if (!(await new Files(folder).exists('seen.json'))) {
    throw new UsageError(
      `--directory must be the directory of an app, but ${folder} has no seen.json`,
    )
  }
  const release = await ownFolder(join(folder, 'spool'))
  try {
    await requestRecovery(folder)
  } finally {
    await release()
  }
  process.stdout.write('The next start of the app continues the log, and records what is lost.\n')
  return 0
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

try {
  process.exitCode = await main()
} catch (error) {
  const { code, message, cause } = error as Error & { readonly code?: unknown }
  // The code of a DOMException is a number.
  const isUsage =
    error instanceof UsageError || (typeof code === 'string' && code.startsWith('ERR_PARSE_ARGS'))
  const reason = cause instanceof Error ? `: ${cause.message}` : ''
  process.stderr.write(`${message}${reason}\n${isUsage ? `\n${USAGE}` : ''}`)
  // Only a log that was read can be called tampered.
  const isDamaged = error instanceof PARAPET_AUDIT_LOG_CORRUPT
  process.exitCode = isUsage ? WRONG_USAGE : isDamaged ? 1 : 2
}
