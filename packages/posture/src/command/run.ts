/** Runs a check for the command, and writes its report. */
import { readFile, writeFile } from 'node:fs/promises'
import { dirname, relative, resolve } from 'node:path'
import { withDeadline } from '@parapet/kit'
import { checkApp } from '../http/check-app.ts'
import { loadEntry, type LoadModule } from '../http/load-entry.ts'
import { resolveOptions, type PostureSettings, type Progress } from '../options.ts'
import { readBaseline, updateBaseline, writeBaseline } from '../report/baseline.ts'
import { renderJunit } from '../report/junit.ts'
import type { Report } from '../report/report.ts'
import { renderSarif } from '../report/sarif.ts'
import { renderTable, type TableSettings } from '../report/table.ts'
import { checkSite } from '../site/check-site.ts'
import { findProject } from '../source/project.ts'
import { UsageError, type Arguments, type Format } from './arguments.ts'

/** What the command needs of its process. */
export interface Terminal {
  readonly load: LoadModule
  readonly print: (text: string) => void
  readonly onProgress: (progress: Progress) => void
  readonly color: boolean
  readonly width: number
  readonly folder: string
}

const CLOSE_MS = 5_000

/** Checks, writes the report, and returns the exit status: 0 or 1. */
export async function run(given: Arguments, terminal: Terminal): Promise<0 | 1> {
  const isSite = /^https?:\/\//i.test(given.target)
  const settings = await readSettings(given, terminal, isSite)
  const report = isSite
    ? await checkSite(new URL(given.target), given.paths, settings)
    : await checkFile(resolve(terminal.folder, given.target), settings, terminal.load)
  await write(given, report, terminal)
  const { baseline } = settings
  if (!given.updateBaseline || baseline === undefined) return report.ok ? 0 : 1
  await writeBaseline(baseline, updateBaseline(report.lines, await readBaseline(baseline)))
  return 0
}

async function readSettings(
  { options, rolesFile, target }: Arguments,
  { onProgress, folder }: Terminal,
  isSite: boolean,
): Promise<PostureSettings> {
  const project =
    options['project'] ?? (isSite ? undefined : findProject(dirname(resolve(folder, target))))
  const { baseline } = options
  return resolveOptions({
    ...options,
    ...(rolesFile === undefined ? {} : { roles: await readRoles(resolve(folder, rolesFile)) }),
    ...(typeof project === 'string' ? { project: resolve(folder, project) } : {}),
    ...(typeof baseline === 'string' ? { baseline: resolve(folder, baseline) } : {}),
    onProgress,
  })
}

async function readRoles(path: string): Promise<unknown> {
  try {
    return JSON.parse(await readFile(path, 'utf8'))
  } catch (error) {
    throw new UsageError(`--roles: ${(error as Error).message}`)
  }
}

async function checkFile(
  path: string,
  settings: PostureSettings,
  load: LoadModule,
): Promise<Report> {
  const app = await loadEntry(path, load)
  try {
    return await checkApp(app, settings, relative(process.cwd(), path))
  } finally {
    await closeWithin(app)
  }
}

const createLate = (): Error => new Error('the app did not close')

/** An app that does not close must not hold the command. */
async function closeWithin(app: Awaited<ReturnType<typeof loadEntry>>): Promise<void> {
  const alive = setInterval(() => {}, 60_000)
  await withDeadline(app.close(), CLOSE_MS, createLate).catch(() => {})
  clearInterval(alive)
}

async function write(
  { format, output, all }: Arguments,
  report: Report,
  terminal: Terminal,
): Promise<void> {
  const { print, color, width, folder } = terminal
  const render = RENDERERS[format]
  if (output === undefined) {
    print(render(report, { color, width, all }))
    return
  }
  await writeFile(resolve(folder, output), render(report, { all }))
  if (format !== 'table') print(renderTable(report, { color, width, all }))
}

type Render = (report: Report, settings: TableSettings) => string

const RENDERERS: Readonly<Record<Format, Render>> = {
  table: renderTable,
  json: (report) => `${JSON.stringify(report, null, 2)}\n`,
  sarif: renderSarif,
  junit: renderJunit,
}
