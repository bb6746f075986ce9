/** JUnit XML, for CI systems that show tests: one case for each line. */
import type { LineResult } from '../checks/judge.ts'
import { bySection, isNewFailure, type Report } from './report.ts'

/** Renders one test suite for each section. */
export function renderJunit(report: Report): string {
  const seconds = (report.durationMs / 1000).toFixed(3)
  const all = attributesOf(report.lines)
  return [
    '<?xml version="1.0" encoding="UTF-8"?>',
    `<testsuites name="posture" ${all} time="${seconds}">`,
    ...[...bySection(report.lines)].flatMap(([section, lines]) => [
      `  <testsuite name="${escape(section)}" ${attributesOf(lines)}>`,
      ...lines.flatMap(caseOf),
      '  </testsuite>',
    ]),
    '</testsuites>',
    '',
  ].join('\n')
}

function attributesOf(lines: readonly LineResult[]): string {
  const failures = lines.filter(isNewFailure).length
  const skipped = lines.filter(
    ({ status }) => status === 'manual' || status === 'not-applicable',
  ).length
  return `tests="${lines.length}" failures="${failures}" errors="0" skipped="${skipped}"`
}

function caseOf(line: LineResult): string[] {
  const { id, title, section, status, evidence, findings, fix, severity } = line
  const head = `    <testcase classname="posture.${escape(section)}" name="${escape(`${id} ${title}`)}"`
  if (status === 'pass') return [`${head}/>`]
  if (status !== 'fail')
    return [
      `${head}>`,
      `      <skipped message="${escape(`${status}: ${evidence}`)}"/>`,
      '    </testcase>',
    ]
  const text = [...findings.map((each) => `${each.where}: ${each.evidence}`), `Fix: ${fix}`].join(
    '\n',
  )
  if (!isNewFailure(line))
    return [
      `${head}>`,
      `      <system-out>${escape(`known\n${text}`)}</system-out>`,
      '    </testcase>',
    ]
  return [
    `${head}>`,
    `      <failure type="${severity}" message="${escape(evidence)}">${escape(text)}</failure>`,
    '    </testcase>',
  ]
}

/** Escapes for XML 1.0, and drops what it cannot contain. */
function escape(text: string): string {
  return text
    .toWellFormed()
    .replaceAll(/[^\t\n\r\u{20}-\u{D7FF}\u{E000}-\u{FFFD}\u{10000}-\u{10FFFF}]/gu, '')
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replaceAll('"', '&quot;')
}
