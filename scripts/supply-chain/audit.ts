/**
 * `pnpm security:audit`: known vulnerabilities, licences, the lockfile, unused dependencies, and the software
 * bill of materials. Everything runs, even if one part fails. The exit code is 1 if any did; 3 if none did, and
 * the registry does not answer questions about vulnerabilities, so that nothing is known about them.
 *
 *   pnpm security:audit                  everything
 *   pnpm security:audit --sbom FILE      also writes the bill of materials to the file
 */
import { execFileSync } from 'node:child_process'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { workspaceRoot } from '../workspace.ts'
import { ACCEPTED, findAdvisoryFaults, type AuditReport } from './advisories.ts'
import { findInventoryFaults, type Inventory } from './inventory.ts'
import { findLicenceFaults, type LicenceList } from './licences.ts'
import { findLockfileFaults, findRegistrySettings, listLocked } from './lockfile.ts'

/** One part of the check. */
export interface Part {
  readonly name: string
  readonly run: () => { readonly faults: readonly string[]; readonly summary: string }
}

const read = (path: string): string => readFileSync(join(workspaceRoot, path), 'utf8')

/** Runs pnpm and returns what it printed, whatever its exit code. */
function pnpm(...args: readonly string[]): string {
  const { packageManager } = JSON.parse(read('package.json')) as { packageManager: string }
  // An npx above this process passes its own command and package on, which npx would take for its own here.
  const { npm_config_call: _call, npm_config_package: _package, ...env } = process.env
  try {
    return execFileSync('npx', ['--yes', packageManager, ...args], {
      cwd: workspaceRoot,
      env,
      encoding: 'utf8',
      maxBuffer: 256 * 1024 * 1024,
      stdio: ['ignore', 'pipe', 'pipe'],
    })
  } catch (error) {
    const { stdout, stderr } = error as { readonly stdout?: string; readonly stderr?: string }
    if (stdout !== undefined && stdout.trim() !== '') return stdout
    throw new Error(`pnpm ${args.join(' ')}: ${(stderr ?? '').trim().slice(-500)}`, {
      cause: error,
    })
  }
}

function json(text: string): unknown {
  const start = text.search(/[[{]/)
  if (start === -1) throw new Error(`no JSON: ${text.trim().slice(0, 300)}`)
  return JSON.parse(text.slice(start))
}

/**
 * Reads what `pnpm audit --json` printed.
 *
 * @throws Unavailable the registry has no such endpoint, or is away.
 */
export function readAudit(run: () => string): AuditReport {
  let text: string
  try {
    text = run()
  } catch (error) {
    throw refusalOf((error as Error).message) ?? error
  }
  const report = json(text) as AuditReport & { readonly error?: unknown }
  if (report.error === undefined) return report
  const message = JSON.stringify(report.error).slice(0, 300)
  throw refusalOf(message) ?? new Error(message)
}

function refusalOf(message: string): Unavailable | undefined {
  const [, status] = /responded with (\d{3})/.exec(message.replaceAll(/[\s│×]+/g, ' ')) ?? []
  if (status !== undefined) {
    return new Unavailable(
      `the registry answered ${status}; nothing is known about vulnerabilities`,
    )
  }
  return /AUDIT_ENDPOINT_NOT_EXISTS|ENOTFOUND|ECONNREFUSED|ECONNRESET|ETIMEDOUT|EAI_AGAIN/.test(
    message,
  )
    ? new Unavailable('the registry does not answer; nothing is known about vulnerabilities')
    : undefined
}

/** Makes the bill of materials from the lockfile. */
export function makeInventory(): Inventory {
  return json(pnpm('sbom', '--sbom-format', 'cyclonedx', '--lockfile-only')) as Inventory
}

const parts: readonly Part[] = [
  {
    name: 'vulnerabilities',
    run: () => {
      const report = readAudit(() => pnpm('audit', '--json'))
      const count = Object.keys(report.advisories ?? {}).length
      return { faults: findAdvisoryFaults(report, ACCEPTED, Date.now()), summary: `${count} known` }
    },
  },
  {
    name: 'licences',
    run: () => {
      const list = json(pnpm('--recursive', 'licenses', 'list', '--prod', '--json')) as LicenceList
      if (Object.keys(list).length === 0) throw new Error('no package was listed')
      const counts = Object.entries(list).map(([licence, { length }]) => `${licence} ${length}`)
      return { faults: findLicenceFaults(list), summary: counts.toSorted().join(', ') }
    },
  },
  {
    name: 'lockfile',
    run: () => {
      const lockfile = read('pnpm-lock.yaml')
      const settings = ['.npmrc', 'pnpm-workspace.yaml'].filter((path) =>
        existsSync(join(workspaceRoot, path)),
      )
      const faults = [
        ...findLockfileFaults(lockfile),
        ...settings.flatMap((path) =>
          findRegistrySettings(read(path)).map((line) => `${path}: ${line}`),
        ),
      ]
      return { faults, summary: `${listLocked(lockfile).length} packages, each with a digest` }
    },
  },
  {
    name: 'unused dependencies',
    run: () => {
      const output = pnpm(
        'exec',
        'knip',
        '--dependencies',
        '--no-exit-code',
        '--reporter',
        'compact',
      )
      const faults = output.split('\n').filter((line) => /^\S+: /.test(line))
      return { faults, summary: 'knip' }
    },
  },
  {
    name: 'bill of materials',
    run: () => {
      const inventory = makeInventory()
      const at = process.argv.indexOf('--sbom')
      if (at !== -1) writeFileSync(process.argv[at + 1]!, `${JSON.stringify(inventory, null, 2)}\n`)
      const { length } = inventory.components ?? []
      const faults = findInventoryFaults(inventory, listLocked(read('pnpm-lock.yaml')))
      return { faults, summary: `CycloneDX ${String(inventory.specVersion)}, ${length} components` }
    },
  },
]

/** The registry does not answer the question; this says nothing about the dependencies. */
export class Unavailable extends Error {
  override readonly name = 'Unavailable'
}

/** How the command ends: 1 if a part failed; 3 if none did, and the registry refused to answer. */
export function runParts(all: readonly Part[], print: (line: string) => void): 0 | 1 | 3 {
  let status: 0 | 1 | 3 = 0
  for (const { name, run } of all) {
    try {
      const { faults, summary } = run()
      print(`${faults.length === 0 ? 'ok  ' : 'FAIL'} ${name}: ${summary}`)
      for (const fault of faults) print(`     ${fault}`)
      if (faults.length > 0) status = 1
    } catch (error) {
      const isUnavailable = error instanceof Unavailable
      const word = isUnavailable ? 'SKIP' : 'FAIL'
      print(`${word} ${name}: could not run: ${(error as Error).message}`)
      if (!isUnavailable) status = 1
      else if (status === 0) status = 3
    }
  }
  return status
}

if (process.argv[1]?.endsWith('audit.ts') === true) {
  process.exitCode = runParts(parts, (line) => console.log(line))
}
