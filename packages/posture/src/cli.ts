#!/usr/bin/env node
/**
 * The command `posture`. It runs the check in a second process, whose standard output belongs to the app:
 * the log of the app and the report do not mix.
 */
import { spawn } from 'node:child_process'
import { Socket } from 'node:net'
import { fileURLToPath } from 'node:url'
import { readArguments, USAGE, UsageError, type Arguments } from './command/arguments.ts'
import { renderChecklist } from './checklist/page.ts'
import { createProgressLine } from './command/progress.ts'

const FAILED = 2
/** Added to the status of the second process, so that one of the app is not taken for a result. */
const CHECKED = 100
const REPORT_FD = 3
/** Requests at a time. */
const AT_ONCE = 4
const kInner = 'PARAPET_POSTURE_INNER'

function main(): void {
  const args = process.argv.slice(2)
  const given = readArguments(args)
  if (given.help) process.stdout.write(USAGE)
  else if (given.checklist) process.stdout.write(renderChecklist())
  else if (process.env[kInner] === '1') void check(given)
  else start(args, given)
}

/** Starts the second process, and passes on its report and its status. */
function start(args: readonly string[], { logs }: Arguments): void {
  const { columns, isTTY } = process.stdout as {
    readonly columns?: number
    readonly isTTY?: boolean
  }
  const child = spawn(
    process.execPath,
    [...process.execArgv, fileURLToPath(import.meta.url), ...args],
    {
      stdio: ['ignore', logs ? 2 : 'ignore', 'inherit', 'pipe'],
      env: {
        // The checklist is about production: error handlers and loggers of an app depend on it.
        NODE_ENV: 'production',
        ...process.env,
        [kInner]: '1',
        PARAPET_POSTURE_COLUMNS: String(columns ?? 100),
        PARAPET_POSTURE_COLOR: isTTY === true && process.env['NO_COLOR'] === undefined ? '1' : '0',
      },
    },
  )
  child.stdio[REPORT_FD]?.on('data', (chunk: Buffer) => void process.stdout.write(chunk))
  child.once('error', (error) => fail(error))
  child.once('close', (code, signal) => {
    const status = (code ?? 0) - CHECKED
    if (status >= 0 && status <= FAILED) {
      process.exitCode = status
      return
    }
    const end = signal ?? `status ${code ?? FAILED}`
    fail(
      new Error(`the app ended the process (${end}) before the check was done; --logs shows why`),
    )
  })
}

async function check(given: Arguments): Promise<void> {
  const { env } = process
  const report = new Socket({ fd: REPORT_FD, writable: true, readable: false })
  const progress = createProgressLine(process.stderr)
  let status: number = FAILED
  let isDone = false
  let asked: readonly string[] = []
  process.once('exit', () => {
    // After an exception that nobody catches, or `process.exit` in the app.
    if (!isDone && asked.length > 0)
      process.stderr.write(`posture: the last routes asked were ${asked.join(', ')}; see --skip\n`)
  })
  delete env[kInner]
  try {
    // Loaded here, so that the first process stays small.
    const { run } = await import('./command/run.ts')
    status = await run(given, {
      load: (url) => import(url),
      print: (text) => void report.write(text),
      onProgress: (step) => {
        asked = step.step === 'routes' ? [...asked.slice(1 - AT_ONCE), step.name] : []
        progress.show(step)
      },
      color: env['PARAPET_POSTURE_COLOR'] === '1',
      width: Number(env['PARAPET_POSTURE_COLUMNS']),
      folder: process.cwd(),
    })
  } catch (error) {
    progress.clear()
    fail(error)
  }
  isDone = true
  progress.clear()
  // Open handles of the app must not keep the process alive.
  report.end(() => process.exit(CHECKED + status))
}

function fail(error: unknown): void {
  const isUsage = error instanceof UsageError
  const text =
    error instanceof Error
      ? process.env['DEBUG'] === undefined
        ? error.message
        : error.stack
      : String(error)
  process.stderr.write(`posture: ${text}\n${isUsage ? '\n' + USAGE : ''}`)
  process.exitCode = FAILED
}

try {
  main()
} catch (error) {
  fail(error)
}
