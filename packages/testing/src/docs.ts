/** Checks that a package's README agrees with its code; tables are compared both ways. */
import { readFileSync } from 'node:fs'
import { report, type TestContext } from './test-context.ts'

/** One row of a table, by column header in lower case; backticks are stripped. */
export type TableRow = Readonly<Record<string, string>>

/** The events that a plugin declares; kit's `SecurityEventTable` fits. */
export type EventDeclarations = Readonly<Record<string, EventDeclaration | undefined>>

/** One event. */
export interface EventDeclaration {
  readonly severity: string
  readonly outcome: string
  /** One sentence for the generated reference page. */
  readonly description?: string
}

const MAX_LINE = 100
const MAX_ROW = 160
const INSTALL_NOTE = 'ESM; `require` works from Node 20.19.'

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
 * @param errors the package's exports; exports that are not error classes are ignored.
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
    if (!expected.includes(name)) faults.push(`${name} is exported: list it in the names test`)
  }
  for (const name of expected) {
    if (!Object.hasOwn(module, name))
      faults.push(`${name} is listed in the names test, not exported`)
  }
  report(t, 'the module exports exactly the listed names', faults)
}

/**
 * The README has at most `maxWords` words, its lines of prose and code at most 100 characters, and
 * the rows of its tables at most 160. Words are what white space separates, code and tables
 * included.
 *
 * @param maxWords @default 1200
 */
export function checkReadmeLength(t: TestContext, readme: string, maxWords = 1_200): void {
  const words = readme.split(/\s+/).filter((word) => word !== '').length
  const faults = words > maxWords ? [`README.md has ${words} words: cut it to ${maxWords}`] : []
  let inFence = false
  for (const [index, line] of readme.split('\n').entries()) {
    if (line.startsWith('```')) inFence = !inFence
    const isRow = !inFence && line.trimStart().startsWith('|')
    const limit = isRow ? MAX_ROW : MAX_LINE
    if (line.length <= limit) continue
    const what = isRow ? 'shorten a cell' : 'wrap it'
    faults.push(`README.md:${index + 1} has ${line.length} characters: ${what} at ${limit}`)
  }
  report(t, `README.md has at most ${maxWords} words, in lines that fit a screen`, faults)
}

/**
 * The README links the generated page of the package, `docs/reference/<package>.md`.
 *
 * @param name the npm name; its scope is left out.
 */
export function checkReferenceLink(t: TestContext, readme: string, name: string): void {
  const page = `docs/reference/${name.slice(name.indexOf('/') + 1)}.md`
  const faults = readme.includes(`](../../${page}`)
    ? []
    : [`README.md must link [${page}](../../${page}), where routes, errors and events are listed`]
  report(t, `README.md links ${page}`, faults)
}

/**
 * The README says once, right below the command that installs the package, how CommonJS loads it. A
 * CommonJS project with `moduleResolution: node16` gets TS1479 and looks for this sentence.
 */
export function checkInstallNote(t: TestContext, readme: string): void {
  const found = readme.split(INSTALL_NOTE).length - 1
  const below = /^```sh\nnpm install [^`]*```\n\n(.+)/m.exec(readme)?.[1]?.startsWith(INSTALL_NOTE)
  const faults: string[] = []
  if (found !== 1) faults.push(`README.md must say once "${INSTALL_NOTE}"; it does ${found} times`)
  else if (below !== true) {
    faults.push(`README.md must say "${INSTALL_NOTE}" right below the block with "npm install"`)
  }
  report(t, 'README.md says how CommonJS loads the package', faults)
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
    const details = Object.entries(facts).map(([column, value]) => `${column} ${value}`)
    const suffix = details.length === 0 ? '' : ` (${details.join(', ')})`
    faults.push(`README.md ## ${heading} lacks ${name}${suffix}`)
  }
  report(t, `README.md ## ${heading} agrees with the code`, faults)
}

/** A package with nothing to list needs no table; in another one each missing row is a fault. */
function rowsOrNone(readme: string, heading: string, faults: string[]): TableRow[] {
  try {
    return tableUnder(readme, heading)
  } catch (error) {
    if (readme.includes(`## ${heading}`)) faults.push((error as Error).message)
    return []
  }
}

function cellsOf(line: string): string[] {
  return line
    .slice(1, -1)
    .split(/(?<!\\)\|/)
    .map((cell) => cell.trim().replaceAll('\\|', '|').replaceAll('`', ''))
}
