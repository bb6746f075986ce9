/** The report for people, on a terminal. */
import type { Finding, LineResult } from '../checks/judge.ts'
import { listed, type Status } from '../checks/outcome.ts'
import { bySection, isNewFailure, type Report } from './report.ts'

/** How a report is printed. */
export interface TableSettings {
  /** Escape sequences of ANSI. @default false */
  readonly color?: boolean
  /** Columns of the terminal. @default 100 */
  readonly width?: number
  /** Also lines that pass or do not apply. @default false */
  readonly all?: boolean
}

type Mark = Status | 'known'

const SIGNS: Readonly<Record<Mark, string>> = {
  pass: '✓ pass  ',
  fail: '✗ FAIL  ',
  manual: '? manual',
  'not-applicable': '– n/a   ',
  known: '! known ',
}
const COLORS: Readonly<Record<Mark, number>> = {
  pass: 32,
  fail: 31,
  manual: 33,
  'not-applicable': 90,
  known: 35,
}
const MOST_FINDINGS = 10

/** Renders failures with evidence and fix, manual lines, and a bar of what is done. */
export function renderTable(
  report: Report,
  { color = false, width = 100, all = false }: TableSettings = {},
): string {
  const paint = (code: number, text: string): string =>
    color ? `\u001B[${code}m${text}\u001B[0m` : text
  const out: string[] = [`Posture of ${printable(report.target)}`, '']
  for (const [section, lines] of bySection(report.lines)) {
    const shown = lines.filter(({ status }) => all || status === 'fail' || status === 'manual')
    const done = lines.filter(
      ({ status }) => status === 'pass' || status === 'not-applicable',
    ).length
    const count = `${done}/${lines.length}`
    out.push(
      `${paint(1, section.toUpperCase())} ${paint(90, `${bar(done, lines.length, 10)} ${count}`)}`,
    )
    for (const line of shown) out.push(...renderLine(line, width, paint))
    out.push('')
  }
  out.push(...renderSummary(report, paint))
  return `${out.join('\n')}\n`
}

function renderLine(
  line: LineResult,
  width: number,
  paint: (code: number, text: string) => string,
): string[] {
  const mark: Mark = line.status === 'fail' && !isNewFailure(line) ? 'known' : line.status
  const head = `  ${paint(COLORS[mark], SIGNS[mark])} ${line.id} ${line.title}`
  const severity = mark === 'fail' ? ` (${line.severity})` : ''
  const out = [`${head}${paint(90, severity)}`]
  const indent = ' '.repeat(13)
  const add = (text: string): void => {
    for (const part of wrap(printable(text), width - indent.length)) out.push(`${indent}${part}`)
  }
  if (line.status !== 'fail') {
    add(line.evidence)
    return out
  }
  const groups = [...grouped(line.findings)]
  for (const [evidence, places] of groups.slice(0, MOST_FINDINGS))
    add(`${listed(places)}: ${evidence}`)
  if (groups.length > MOST_FINDINGS)
    add(`and ${groups.length - MOST_FINDINGS} more (see --format json)`)
  add(`Fix: ${line.fix}`)
  return out
}

/** The places by what was seen there; new findings first. */
function grouped(findings: readonly Finding[]): ReadonlyMap<string, readonly string[]> {
  const groups = new Map<string, string[]>()
  for (const { where, evidence, isKnown } of findings.toSorted(
    (a, b) => Number(a.isKnown) - Number(b.isKnown),
  )) {
    const text = isKnown ? `${evidence} (known)` : evidence
    groups.set(text, [...(groups.get(text) ?? []), where])
  }
  return groups
}

function renderSummary(
  { counts, lines, routes, requests, durationMs, ok }: Report,
  paint: (code: number, text: string) => string,
): string[] {
  const done = counts.pass + counts['not-applicable']
  const percent = Math.floor((done / lines.length) * 100)
  const parts = [
    paint(COLORS.pass, `${counts.pass} pass`),
    paint(COLORS.fail, `${counts.fail} fail`),
    paint(COLORS.manual, `${counts.manual} manual`),
    paint(COLORS['not-applicable'], `${counts['not-applicable']} n/a`),
    ...(counts.known > 0 ? [paint(COLORS.known, `${counts.known} known`)] : []),
  ]
  return [
    `${bar(done, lines.length, 30)} ${percent} % of ${lines.length} lines`,
    `${parts.join('  ')}   ${routes} routes, ${requests} requests, ${(durationMs / 1000).toFixed(1)} s`,
    ok ? paint(COLORS.pass, 'No new failure.') : paint(COLORS.fail, `${counts.fail} lines fail.`),
  ]
}

function bar(done: number, all: number, width: number): string {
  const full = all === 0 ? 0 : Math.floor((done / all) * width)
  return `${'█'.repeat(full)}${'░'.repeat(width - full)}`
}

/** What an app sends must not reach the terminal as a control sequence. */
function printable(text: string): string {
  return text.replaceAll(/[\p{Cc}\p{Cf}\u2028\u2029]/gu, ' ')
}

function wrap(text: string, width: number): string[] {
  const lines: string[] = []
  let line = ''
  for (const word of text.split(' ')) {
    if (line !== '' && line.length + 1 + word.length > width) {
      lines.push(line)
      line = word
    } else line = line === '' ? word : `${line} ${word}`
  }
  return [...lines, line]
}
