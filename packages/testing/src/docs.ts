/** Whether a package's README tells what its code does; each check works both ways. */
import { readFileSync } from 'node:fs'
import type { TestContext } from './test-context.ts'

/** One row of a table, by column header in lower case; backticks are stripped. */
export type TableRow = Readonly<Record<string, string>>

/** What a README tells of an event; kit's `SecurityEventTable` fits. */
export type EventDeclarations = Readonly<
  Record<string, { readonly severity: string; readonly outcome: string } | undefined>
>

/** The text of a package's README. @param packageUrl the package's folder, with a `/` at its end. */
export function readReadme(packageUrl: URL): string {
  return readFileSync(new URL('README.md', packageUrl), 'utf8')
}

/**
 * The rows of the first table under the heading `## heading`.
 *
 * @throws Error there is no such heading, or no table under it.
 */
export function tableUnder(readme: string, heading: string): TableRow[] {
  const lines = readme.split('\n').map((line) => line.trim())
  const start = lines.indexOf(`## ${heading}`)
  const section = start === -1 ? [] : lines.slice(start + 1)
  const next = section.findIndex((line) => line.startsWith('## '))
  const body = next === -1 ? section : section.slice(0, next)
  const delimiter = body.findIndex((line) => /^\|[\s:|-]*-[\s:|-]*\|$/.test(line))
  if (delimiter < 1) throw new Error(`README.md needs a table under "## ${heading}"`)
  const columns = cellsOf(body[delimiter - 1]!).map((cell) => cell.toLowerCase())
  const after = body.slice(delimiter + 1)
  const end = after.findIndex((line) => !line.startsWith('|'))
  return (end === -1 ? after : after.slice(0, end)).map((line) => {
    const cells = cellsOf(line)
    return Object.fromEntries(columns.map((column, index) => [column, cells[index] ?? '']))
  })
}

/**
 * The `## Errors` table (the code first, and a column `status`) lists exactly the `PARAPET_*` error
 * constants of the module, each with its status, and each constant is named as its code.
 *
 * @param errors the package's exports; whatever is not an error constant is passed over.
 */
export function checkErrorsTable(
  t: TestContext,
  readme: string,
  errors: Readonly<Record<string, unknown>>,
): void {
  const known = new Map<string, Record<string, string>>()
  for (const [name, value] of Object.entries(errors)) {
    if (!name.startsWith('PARAPET_') || typeof value !== 'function') continue
    const { code, statusCode } = new (value as new () => { code?: string; statusCode?: number })()
    if (code !== name) t.fail(`the error exported as ${name} has the code ${code}: use one name`)
    known.set(name, { status: String(statusCode) })
  }
  compareTable(t, readme, 'Errors', known)
}

/**
 * The `## Events` table (the type first, and columns `severity` and `outcome`) lists exactly the
 * events that the plugin declares.
 */
export function checkEventsTable(
  t: TestContext,
  readme: string,
  declarations: EventDeclarations,
): void {
  const known = new Map<string, Record<string, string>>()
  for (const [type, declaration] of Object.entries(declarations)) {
    if (declaration === undefined) continue
    known.set(type, { severity: declaration.severity, outcome: declaration.outcome })
  }
  compareTable(t, readme, 'Events', known)
}

/**
 * The `## Options` table (the name first) lists exactly the keys of the plugin's option table. A
 * symbol is listed as `[description]`; a member of a group as `group.member`, beside the group or
 * instead of it.
 *
 * @param options the option table, or an array of its keys.
 */
export function checkOptionsTable(t: TestContext, readme: string, options: object): void {
  const keys = Array.isArray(options) ? (options as (string | symbol)[]) : Reflect.ownKeys(options)
  const names = keys.map((key) => (typeof key === 'string' ? key : `[${key.description ?? ''}]`))
  const isMember = (name: string) => names.some((group) => name.startsWith(`${group}.`))
  compareTable(t, readme, 'Options', new Map(names.map((name) => [name, {}])), isMember)
}

/** The module exports exactly these names. */
export function checkPublicNames(
  t: TestContext,
  module: object,
  expected: readonly string[],
): void {
  const faults: string[] = []
  for (const name of Object.keys(module)) {
    if (!expected.includes(name)) faults.push(`${name} is exported: promise it in the names test`)
  }
  for (const name of expected) {
    if (!Object.hasOwn(module, name)) faults.push(`${name} is promised and not exported`)
  }
  report(t, 'the public names are those promised', faults)
}

/** The README is no longer than `max` lines. @default 150 */
export function checkReadmeLength(t: TestContext, readme: string, max = 150): void {
  const lines = readme.trimEnd().split('\n').length
  const faults = lines > max ? [`README.md has ${lines} lines: cut it to ${max}`] : []
  report(t, `README.md has at most ${max} lines`, faults)
}

function compareTable(
  t: TestContext,
  readme: string,
  heading: string,
  known: ReadonlyMap<string, Readonly<Record<string, string>>>,
  isMember: (name: string) => boolean = () => false,
): void {
  const faults: string[] = []
  const listed = new Set<string>()
  for (const row of rowsOrNone(readme, heading, faults)) {
    const name = Object.values(row)[0] ?? ''
    const facts = known.get(name)
    if (listed.has(name)) faults.push(`README.md ## ${heading} lists ${name} twice`)
    listed.add(name)
    if (isMember(name)) listed.add(name.slice(0, name.indexOf('.')))
    else if (facts === undefined) {
      faults.push(`README.md ## ${heading} lists ${name}, which the code does not have`)
    }
    for (const [column, value] of Object.entries(facts ?? {})) {
      if (row[column] === value) continue
      faults.push(
        `README.md ## ${heading} says ${name} has the ${column} ${row[column] ?? '(no column)'}; the code says ${value}`,
      )
    }
  }
  for (const [name, facts] of known) {
    if (listed.has(name)) continue
    const told = Object.entries(facts).map(([column, value]) => `${column} ${value}`)
    const suffix = told.length === 0 ? '' : ` (${told.join(', ')})`
    faults.push(`README.md ## ${heading} lacks ${name}${suffix}`)
  }
  report(t, `README.md ## ${heading} tells what the code has`, faults)
}

/** A package that has nothing to list needs no table; one that has is told what it lacks. */
function rowsOrNone(readme: string, heading: string, faults: string[]): TableRow[] {
  try {
    return tableUnder(readme, heading)
  } catch (error) {
    if (readme.includes(`## ${heading}`)) faults.push((error as Error).message)
    return []
  }
}

function report(t: TestContext, promise: string, faults: readonly string[]): void {
  if (faults.length === 0) t.pass(promise)
  for (const fault of faults) t.fail(fault)
}

function cellsOf(line: string): string[] {
  return line
    .slice(1, -1)
    .split(/(?<!\\)\|/)
    .map((cell) => cell.trim().replaceAll('\\|', '|').replaceAll('`', ''))
}
