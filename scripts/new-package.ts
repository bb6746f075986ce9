/**
 * Starts a package from `templates/plugin`: `pnpm new rate-limits "Limits requests by tier"`.
 *
 * Every name of the template is replaced in the spelling of its place (see `renamer`), so that a new
 * package compiles, is formatted, and passes its own tests.
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
  /** What the package does, in one line without a full stop at its end. */
  readonly promise: string
}

/** The name or the promise is invalid; the message says why. Nothing was written. */
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
 * @throws RefusedError (as a rejection) the name or the promise is invalid.
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
  await formatSources(root, folder)
  return nextSteps(name)
}

function refuseBadRequest(root: string, name: string, promise: string): void {
  const noun = camelCaseOf(name)
  if (!/^[a-z][a-z0-9]*(?:-[a-z][a-z0-9]*)*$/.test(name) || name.length > 40) {
    throw new RefusedError(
      `the name must be a noun in lower case, its words joined by one hyphen, such as "rate-limits"; got "${name}"`,
    )
  }
  if (name.includes('template')) {
    throw new RefusedError(
      `the name must not contain "template", because that word is replaced everywhere; got "${name}"`,
    )
  }
  if (RESERVED.test(noun)) {
    throw new RefusedError(`the name must not be a reserved word of JavaScript, got "${name}"`)
  }
  if (existsSync(join(root, 'packages', name))) {
    throw new RefusedError(`packages/${name} exists already`)
  }
  // At most 95, so that the line fits the width of a README.
  if (!/^\S.{8,93}[^\s.]$/.test(promise) || /\*\/|`/.test(promise)) {
    throw new RefusedError(
      'the promise must be one line of 10 to 95 characters, without backticks and without a full stop at its end',
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
      .replaceAll(TEMPLATE, `packages/${name}`)
      .replaceAll('PARAPET_TEMPLATE_', `PARAPET_${snake.toUpperCase()}_`)
      .replaceAll('@parapet/template', `@parapet/${name}`)
      // The type of an event, between its quotes: 'template.refused'.
      .replaceAll(/(['`])template(?=\.[a-z_]+\1)/g, (_, quote: string) => quote + snake)
      // A file's name, and the name of a goal.
      .replaceAll(/\btemplate(?=\.(?:test\.)?ts\b|\.md\b|-)/g, name)
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

/** Makes the manifest that of a published package; the template itself is private. */
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

/** Formats the sources, because longer or shorter names break lines elsewhere. */
async function formatSources(root: string, folder: string): Promise<void> {
  const settings = JSON.parse(readFileSync(join(root, '.oxfmtrc.json'), 'utf8')) as FormatConfig
  for (const path of filesOf(folder).filter((path) => /\.[cm]?[jt]s$/.test(path))) {
    const { code, errors } = await format(path, readFileSync(path, 'utf8'), settings)
    if (errors.length > 0) throw new Error(`${path} does not parse: ${errors[0]!.message}`)
    writeFileSync(path, code)
  }
}

function nextSteps(name: string): string[] {
  return [
    `packages/${name} is ready. It still does what the template does. Next:`,
    '  1. pnpm install',
    `  2. pnpm unit 'packages/${name}/test/**'   (passes before you start)`,
    '  3. src/options.ts, src/errors.ts, src/events.ts, src/rule.ts: write your own',
    '  4. src/http/ imports Fastify, src/index.ts assembles; declarePhase there sets when in a request it runs',
    '  5. if it brings routes: test/reference-app.ts registers all of them for the reference page',
    '  6. README.md: the options are compared with the code, the examples are run',
    `  7. pnpm run docs   (writes docs/errors.md and docs/reference/${name}.md)`,
    `  8. .changeset/${name}.md: the text for the change log`,
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
