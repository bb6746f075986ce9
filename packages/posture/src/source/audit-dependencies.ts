/** Asks the package manager of the project for known vulnerabilities. */
import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import type { AuditResult } from '../facts/facts.ts'

const DEADLINE_MS = 60_000

interface Report {
  readonly vulnerabilities?: Readonly<Record<string, { readonly severity?: string }>>
  readonly advisories?: Readonly<
    Record<string, { readonly module_name?: string; readonly severity?: string }>
  >
  readonly error?: { readonly summary?: string; readonly message?: string }
}

/** Runs `npm audit` or `pnpm audit` on production dependencies; it sends their names to the registry. */
export function auditDependencies(root: string): Promise<AuditResult> {
  const isPnpm = existsSync(join(root, 'pnpm-lock.yaml'))
  const command = isPnpm ? 'pnpm' : 'npm'
  const args = isPnpm ? ['audit', '--prod', '--json'] : ['audit', '--omit=dev', '--json']
  const settings = { cwd: root, timeout: DEADLINE_MS, maxBuffer: 64 * 1024 * 1024 }
  return new Promise((resolve) => {
    // The status is 1 where something was found.
    execFile(command, args, settings, (error, stdout) => {
      resolve(readReport(stdout, error?.message ?? 'no output'))
    })
  })
}

/** Reads the report of either manager. */
export function readReport(text: string, reason: string): AuditResult {
  try {
    const { vulnerabilities, advisories, error } = JSON.parse(text) as Report
    if (error !== undefined || (vulnerabilities ?? advisories) === undefined) {
      return { failure: error?.summary ?? error?.message ?? reason, vulnerable: [] }
    }
    const found = [
      ...Object.entries(vulnerabilities ?? {}),
      ...Object.values(advisories ?? {}).map(
        (each) => [each.module_name ?? 'unknown', each] as const,
      ),
    ]
    const serious = found.filter(([, { severity }]) => severity !== 'info' && severity !== 'low')
    return {
      vulnerable: [
        ...new Set(serious.map(([name, { severity }]) => `${name}: ${severity ?? '?'}`)),
      ],
    }
  } catch {
    return { failure: reason.split('\n')[0] ?? reason, vulnerable: [] }
  }
}
