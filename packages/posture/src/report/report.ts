/** The result of a check, and what counts as new. */
import type { LineResult } from '../checks/judge.ts'
import type { Status } from '../checks/outcome.ts'
import type { Facts } from '../facts/facts.ts'

/** The result of a check: plain data. */
export interface Report {
  readonly tool: '@parapet/posture'
  /** The format of this object. */
  readonly version: 1
  /** The app or the address. */
  readonly target: string
  /** ISO 8601. */
  readonly checkedAt: string
  readonly routes: number
  readonly requests: number
  readonly durationMs: number
  /** No line fails with a finding that the baseline does not list. */
  readonly ok: boolean
  readonly counts: Readonly<Record<Status, number>> & { readonly known: number }
  readonly lines: readonly LineResult[]
  /** Which role reached which route; empty without `roles`. */
  readonly matrix: readonly RoleRow[]
}

/** What each role got from a route. */
export interface RoleRow {
  readonly route: string
  /** The status by role; `anonymous` is one of them. */
  readonly statuses: Readonly<Record<string, number | null>>
}

/** A line fails anew if it has a finding that is not known. */
export function isNewFailure({ status, findings }: LineResult): boolean {
  return status === 'fail' && findings.some(({ isKnown }) => !isKnown)
}

/** Counts lines by status; `known`: lines whose findings are all in the baseline. */
function countLines(lines: readonly LineResult[]): Report['counts'] {
  const counts = { pass: 0, fail: 0, manual: 0, 'not-applicable': 0, known: 0 }
  for (const line of lines) {
    if (line.status === 'fail' && !isNewFailure(line)) counts.known++
    else counts[line.status]++
  }
  return counts
}

/** The lines by section, in order. */
export function bySection(
  lines: readonly LineResult[],
): ReadonlyMap<string, readonly LineResult[]> {
  const sections = new Map<string, LineResult[]>()
  for (const line of lines) {
    const known = sections.get(line.section)
    if (known === undefined) sections.set(line.section, [line])
    else known.push(line)
  }
  return sections
}

/** What {@link createReport} takes. */
interface ReportParts {
  readonly target: string
  readonly facts: Facts
  readonly lines: readonly LineResult[]
  readonly durationMs: number
}

/** Puts the result together. */
export function createReport({ target, facts, lines, durationMs }: ReportParts): Report {
  return {
    tool: '@parapet/posture',
    version: 1,
    target,
    checkedAt: new Date(facts.now).toISOString(),
    routes: facts.routes.length,
    requests: facts.exchanges.length,
    durationMs,
    ok: !lines.some(isNewFailure),
    counts: countLines(lines),
    lines,
    matrix: readMatrix(facts),
  }
}

function readMatrix({ routes, exchanges, roles }: Facts): RoleRow[] {
  if (roles.length === 0) return []
  return routes.flatMap(({ name }) => {
    const own = exchanges.filter(({ route }) => route === name)
    const statusOf = (role: string) =>
      own.find(({ kind, note }) =>
        role === 'anonymous'
          ? kind === 'plain' || kind === 'active'
          : kind === 'role' && note === role,
      )
    const statuses = ['anonymous', ...roles].map(
      (role) => [role, statusOf(role)?.reply?.status ?? null] as const,
    )
    return statuses.every(([, status]) => status === null)
      ? []
      : [{ route: name, statuses: Object.fromEntries(statuses) }]
  })
}
