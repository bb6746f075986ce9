/** SARIF 2.1.0, for code scanning. */
import { checklist } from '../checklist/checklist.ts'
import type { Severity } from '../checklist/line.ts'
import type { Finding, LineResult } from '../checks/judge.ts'
import type { Report } from './report.ts'

const SCHEMA = 'https://json.schemastore.org/sarif-2.1.0.json'
const LEVELS: Readonly<Record<Severity, string>> = {
  critical: 'error',
  high: 'error',
  medium: 'warning',
  low: 'note',
}
/** Scores that GitHub sorts by. */
const SCORES: Readonly<Record<Severity, string>> = {
  critical: '9.5',
  high: '8.0',
  medium: '5.5',
  low: '3.0',
}

/** Renders the findings; manual lines are results of the kind "review". */
export function renderSarif(report: Report): string {
  const rules = checklist.map(({ id, title, section, severity, fix, asvs }) => ({
    id,
    name: id.replace('-', ''),
    shortDescription: { text: title },
    help: { text: fix },
    defaultConfiguration: { level: LEVELS[severity] },
    properties: {
      tags: ['security', section, ...asvs.map((each) => `ASVS-5.0-${each}`)],
      'security-severity': SCORES[severity],
    },
  }))
  const driver = {
    name: '@parapet/posture',
    informationUri: 'https://github.com/parapet/parapet',
    rules,
  }
  const results = report.lines.flatMap((line, index) => resultsOf(line, index, report.target))
  const run = { tool: { driver }, columnKind: 'utf16CodeUnits', results }
  return `${JSON.stringify({ $schema: SCHEMA, version: '2.1.0', runs: [run] }, null, 2)}\n`
}

function resultsOf(line: LineResult, ruleIndex: number, target: string): object[] {
  const { id, status, evidence, severity, fix } = line
  if (status === 'fail') {
    return line.findings.map((finding) => ({
      ruleId: id,
      ruleIndex,
      kind: 'fail',
      level: LEVELS[severity],
      message: { text: `${finding.where}: ${finding.evidence}. ${fix}` },
      ...placeOf(finding, target),
      partialFingerprints: { 'posture/v1': finding.fingerprint },
      baselineState: finding.isKnown ? 'unchanged' : 'new',
    }))
  }
  if (status !== 'manual') return []
  return [
    {
      ruleId: id,
      ruleIndex,
      kind: 'review',
      level: 'none',
      message: { text: evidence },
      ...placeOf({ where: target }, target),
    },
  ]
}

/**
 * The place of a finding. GitHub refuses a whole log in which a location has no file, so a route is in the file
 * of the app; without one there is no location, and the message names the place.
 */
function placeOf({ where }: Pick<Finding, 'where'>, target: string): object {
  const [, file, line] = /^([\w@.][^\s:]*\.[cm]?[jt]sx?):(\d+)$/.exec(where) ?? []
  if (file !== undefined) return { locations: [{ physicalLocation: fileOf(file, Number(line)) }] }
  if (/^[\w.-]+\.\w+$/.test(where)) return { locations: [{ physicalLocation: fileOf(where, 1) }] }
  if (!/\.[cm]?[jt]sx?$/.test(target)) return {}
  const logicalLocations = [{ fullyQualifiedName: where, kind: 'resource' }]
  return { locations: [{ physicalLocation: fileOf(target, 1), logicalLocations }] }
}

function fileOf(file: string, startLine: number): object {
  return {
    artifactLocation: { uri: encodeURI(file.replaceAll('\\', '/')), uriBaseId: '%SRCROOT%' },
    region: { startLine },
  }
}
