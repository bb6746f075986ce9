/** The lint of the registry: what would make an answer to a subject incomplete. */
import type { InventoryEntry } from './inventory.ts'
import type { RegisteredSource } from './source.ts'

/** One finding. */
export interface Finding {
  /** For instance `no-erase`. */
  readonly rule: string
  readonly severity: 'error' | 'warning'
  /** The source. */
  readonly source: string
  readonly problem: string
  readonly fix: string
}

/** Examines the registry. @param hasForget whether the port `forget` is set. */
export function lintSources(
  sources: readonly RegisteredSource[],
  inventory: readonly InventoryEntry[],
  hasForget: boolean,
): Finding[] {
  return [
    ...sources.flatMap((source) => lintSource(source, hasForget)),
    ...inventory.filter(({ registered }) => !registered).map(missingField),
    ...(sources.length > 1 && sources.every((source) => source.subjects === undefined)
      ? [NOBODY_LISTS]
      : []),
  ]
}

const NOBODY_LISTS: Finding = {
  rule: 'no-subjects',
  severity: 'warning',
  source: '*',
  problem: 'no source lists its subjects, so the ledger cannot be replayed after a restore',
  fix: 'give the source of accounts "subjects"',
}

function lintSource(source: RegisteredSource, hasForget: boolean): Finding[] {
  const { name, categories, fields, retentionDays } = source
  const strategies = Object.values(fields)
  const holdsData = categories.length > 0 || strategies.length > 0
  if (!holdsData) return []
  const retainsAll = strategies.length > 0 && strategies.every((each) => typeof each === 'object')
  const shredsAll = strategies.length > 0 && strategies.every((each) => each === 'shred')
  const find = (rule: string, severity: Finding['severity'], problem: string, fix: string) => ({
    rule,
    severity,
    source: name,
    problem,
    fix,
  })
  return [
    source.collect === undefined &&
      find('no-collect', 'error', 'holds personal data and has no "collect"', 'add it'),
    source.erase === undefined &&
      !retainsAll &&
      !shredsAll &&
      find('no-erase', 'error', 'holds personal data and has no "erase"', 'add it'),
    source.erase !== undefined &&
      source.verifyErased === undefined &&
      find('no-verify', 'error', 'has "erase" and no "verifyErased"', 'count what is left'),
    strategies.length === 0 &&
      find('no-fields', 'error', 'names no fields', 'give each field a strategy'),
    strategies.includes('shred') &&
      !hasForget &&
      find('no-forget', 'error', 'shreds a field without the option "forget"', 'set the option'),
    retentionDays !== null &&
      source.sweep === undefined &&
      find('no-sweep', 'warning', 'has "retentionDays" and no "sweep"', 'add it'),
  ].filter((each) => each !== false)
}

function missingField({ source, field, foundIn, storedIn }: InventoryEntry): Finding {
  const what = storedIn === null ? `the source "${source}"` : `the field "${field}" of it`
  return {
    rule: 'unregistered-field',
    severity: 'error',
    source,
    problem: `the member "${field}" of the schema "${foundIn}" is personal, and the registry lacks ${what}`,
    fix: 'register it with a strategy, or correct the mark',
  }
}

/** One line for each finding. */
export function renderFindings(findings: readonly Finding[]): string {
  return findings
    .map(({ rule, source, problem, fix }) => `  ${source}: ${problem}; ${fix} (${rule})`)
    .join('\n')
}
