/**
 * Starts a package from `templates/plugin`: `pnpm new rate-limits "Limits requests by tier"`.
 *
 * Every name of the template has one spelling for each place it stands in (see `renamer`), so that a
 * new package is consistent from its first minute: it compiles, and its own tests pass.
 */
import { cpSync, existsSync, readdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { format, type FormatConfig } from 'oxfmt'
import { workspaceRoot } from './workspace.ts'

/** What {@link createPackage} takes. */
export interface NewPackage {
  /** The folder of the workspace. @default this one */
  readonly root?: string
  /** The npm name without the scope: `rate-limits`. */
  readonly name: string
  /** What the package promises, in one line without a full stop at its end. */
  readonly promise: string
}

/** The request cannot be met; the message says why. Nothing was written. */
export class RefusedError extends Error {
  override readonly name = 'RefusedError'
}

const TEMPLATE = 'templates/plugin'
const NOT_COPIED = new Set(['node_modules', 'dist', '.snippets', 'CHANGELOG.md'])
const RESERVED =
  /^(?:await|break|case|catch|class|const|debugger|default|delete|else|enum|export|extends|finally|for|function|import|interface|package|private|protected|public|return|static|super|switch|this|throw|typeof|while|yield)$/

/**
 * Copies the template to `packages/<name>` under the new names, adds the package to the build and
 * leaves a changeset.
 *
 * @returns the lines that say what to do next.
 * @throws RefusedError (as a rejection) the name or the promise will not do.
 */
export async function createPackage({
  root = workspaceRoot,
  name,
  promise,
}: NewPackage): Promise<string[]> {
  refuseBadRequest(root, name, promise)
  const folder = join(root, 'packages', name)
  cpSync(join(root, TEMPLATE), folder, {
    recursive: true,
    filter: (source) => !NOT_COPIED.has(basename(source)),
  })
  const template = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')) as {
    readonly description: string
  }
  const rename = renamer(name)
  for (const path of filesOf(folder)) {
    const text = readFileSync(path, 'utf8')
    const spoken =
      basename(path) === 'package.json' ? JSON.stringify(promise).slice(1, -1) : promise
    writeFileSync(path, rename(text.replaceAll(template.description, () => spoken)))
    const renamed = join(dirname(path), rename(basename(path)))
    if (renamed !== path) renameSync(path, renamed)
  }
  publish(join(folder, 'package.json'))
  addToBuild(root, name)
  writeFileSync(
    join(root, '.changeset', `${name}.md`),
    `---\n'@parapet/${name}': minor\n---\n\n${promise}.\n`,
  )
  await layOut(root, folder)
  return nextSteps(name)
}

function refuseBadRequest(root: string, name: string, promise: string): void {
  const noun = camelCaseOf(name)
  if (!/^[a-z][a-z0-9]*(?:-[a-z][a-z0-9]*)*$/.test(name) || name.length > 40) {
    throw new RefusedError(
      `"${name}" is no name for a package: write a noun in lower case, words joined by one hyphen, as "rate-limits"`,
    )
  }
  if (name.includes('template')) {
    throw new RefusedError(`"${name}" holds "template", the very word that is replaced everywhere`)
  }
  if (RESERVED.test(noun)) {
    throw new RefusedError(`"${name}" is a word of the language; a plugin is named by another noun`)
  }
  if (existsSync(join(root, 'packages', name))) {
    throw new RefusedError(`packages/${name} exists already`)
  }
  if (!/^\S.{8,118}[^\s.]$/.test(promise) || /\*\/|`/.test(promise)) {
    throw new RefusedError(
      'the promise is one line of 10 to 120 characters, without backticks and without a full stop at its end',
    )
  }
}

/** Puts the new name into a text, in the spelling of each place. */
function renamer(name: string): (text: string) => string {
  const snake = name.replaceAll('-', '_')
  const camel = camelCaseOf(name)
  const pascal = camel.charAt(0).toUpperCase() + camel.slice(1)
  return (text) =>
    text
      .replaceAll('PARAPET_TEMPLATE_', `PARAPET_${snake.toUpperCase()}_`)
      .replaceAll('@parapet/template', `@parapet/${name}`)
      // An event's type stands alone between its quotes: 'template.refused'.
      .replaceAll(/(['`])template(?=\.[a-z_]+\1)/g, (_, quote: string) => quote + snake)
      // A file's name, and the name of a goal.
      .replaceAll(/\btemplate(?=\.(?:test\.)?ts\b|-)/g, name)
      .replaceAll(/\bTemplate/g, pascal)
      .replaceAll(/\btemplate/g, camel)
}

function camelCaseOf(name: string): string {
  return name.replaceAll(/-(\w)/g, (_, letter: string) => letter.toUpperCase())
}

function filesOf(folder: string): string[] {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
}

/** The template is private; what is made of it is not. */
function publish(path: string): void {
  const text = readFileSync(path, 'utf8')
  writeFileSync(
    path,
    text
      .replace('  "private": true,\n', '')
      .replace(/"version": "[^"]+"/, '"version": "0.0.0"')
      .replace('  "dependencies": {', '  "publishConfig": {\n    "access": "public"\n  },\n$&'),
  )
}

function addToBuild(root: string, name: string): void {
  const path = join(root, 'tsconfig.build.json')
  const { references } = JSON.parse(readFileSync(path, 'utf8')) as {
    readonly references: readonly { readonly path: string }[]
  }
  const paths = [...references.map(({ path }) => path), `packages/${name}/tsconfig.build.json`]
  const lines = paths.toSorted().map((each) => `    { "path": ${JSON.stringify(each)} }`)
  writeFileSync(path, `{\n  "files": [],\n  "references": [\n${lines.join(',\n')}\n  ]\n}\n`)
}

/** Longer or shorter names break lines elsewhere, so the sources are laid out anew. */
async function layOut(root: string, folder: string): Promise<void> {
  const settings = JSON.parse(readFileSync(join(root, '.oxfmtrc.json'), 'utf8')) as FormatConfig
  for (const path of filesOf(folder).filter((path) => /\.[cm]?[jt]s$/.test(path))) {
    const { code, errors } = await format(path, readFileSync(path, 'utf8'), settings)
    if (errors.length > 0) throw new Error(`${path} does not parse: ${errors[0]!.message}`)
    writeFileSync(path, code)
  }
}

function nextSteps(name: string): string[] {
  return [
    `packages/${name} is ready. It still does what the template does; now:`,
    '  1. pnpm install',
    `  2. pnpm unit 'packages/${name}/test/**'   (green before you start)`,
    `  3. src/${name}.ts, src/options.ts, src/errors.ts, src/events.ts: write your own; src/index.ts wires them`,
    '  4. declarePhase in src/index.ts: the moment of a request at which the plugin stands',
    '  5. README.md: its tables are compared with the code; its examples are run',
    `  6. .changeset/${name}.md: what a user reads in the change log`,
  ]
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const [name = '', promise = ''] = process.argv.slice(2)
  try {
    console.log((await createPackage({ name, promise })).join('\n'))
  } catch (error) {
    if (!(error instanceof RefusedError)) throw error
    console.error(`${error.message}\nusage: pnpm new <name> "<one-line promise>"`)
    process.exitCode = 1
  }
}
