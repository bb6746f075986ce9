/** Each reference of an expression names something that exists. `terraform validate` needs the provider. */
import { createReport, itemsOf, membersOf, type Finding } from '../finding.ts'
import type { Configuration } from './read.ts'

const ROOTS = /\b(?:var|local|data\.aws_\w+|aws_\w+)\.[a-z_]\w*/g

/** Checks every expression. */
export function checkReferences({ files, blocks }: Configuration): Finding[] {
  const known = new Set(
    blocks.map(({ kind, type, name }) => `${kind === 'data' ? 'data.' : ''}${type}.${name}`),
  )
  for (const body of files.values()) {
    for (const name of Object.keys(membersOf(body['variable']))) known.add(`var.${name}`)
    for (const locals of itemsOf(body['locals'])) {
      for (const name of Object.keys(membersOf(locals))) known.add(`local.${name}`)
    }
  }
  const used = new Set<string>()
  const findings: Finding[] = []
  for (const [file, body] of files) {
    const report = createReport(file)
    for (const reference of referencesOf(body)) {
      used.add(reference)
      report.expect(known.has(reference), 'reference', `${reference} is declared nowhere`)
    }
    findings.push(...report.findings)
  }
  for (const [file, body] of files) {
    const report = createReport(file)
    for (const name of Object.keys(membersOf(body['variable']))) {
      report.expect(used.has(`var.${name}`), 'unused', `the variable ${name} is used nowhere`)
    }
    findings.push(...report.findings)
  }
  return findings
}

function referencesOf(value: unknown): string[] {
  if (typeof value === 'string') {
    return [...value.matchAll(/\$\{((?:[^{}]|\{[^{}]*\})*)\}/g)].flatMap(
      ([, expression]) => expression!.match(ROOTS) ?? [],
    )
  }
  return Object.values(value ?? {}).flatMap(referencesOf)
}
