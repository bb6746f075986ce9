/**
 * The import law: which file may import which. It reads texts, not the disk, so that its own test can
 * break every rule without leaving a broken file behind.
 */
import { isBuiltin } from 'node:module'
import { posix } from 'node:path'
import { findCircles } from './graph.ts'
import { readImports, type Import } from './imports.ts'
import { folderOf, graphOf, innerImports, type InnerImport, type SourceImports } from './rooms.ts'

/** The rules, each with the sentence that a breach prints. */
export const rules = Object.freeze({
  'plugins-stay-independent': 'a plugin imports no other plugin, not even its types',
  'packages-keep-inside': 'a package imports no file outside its own folder',
  'kit-stays-small': 'kit imports `node:` and, as types only, `fastify`',
  'core-without-fastify':
    'only src/index.ts and src/http/ import Fastify; src/options.ts and src/events.ts of a plugin may import its types',
  'types-only':
    'options.ts and events.ts import only types of Fastify; no file but a command in package.json\'s "bin" imports more than types of a database driver',
  'index-is-the-entry': 'no file in src imports an index.ts',
  'folders-form-no-circle': 'the folders of a package do not import each other in a circle',
  'files-form-no-circle': 'the files of a package do not import each other in a circle',
  'declared-only': 'src imports only what its package.json declares',
  'testing-stays-in-tests': 'only tests, benchmarks and scripts import @parapet/testing',
  'examples-are-leaves': 'nothing imports an example',
})

/** The name of a rule. */
export type Rule = keyof typeof rules

/** One import that breaks the law. */
export interface Breach {
  readonly file: string
  readonly line: number
  readonly rule: Rule
  readonly message: string
}

interface Member {
  /** `packages/rbac` */
  readonly folder: string
  readonly name: string
  readonly declared: ReadonlySet<string>
  /** Its commands, below `src`: programs that open their own connections. */
  readonly commands: ReadonlySet<string>
}

interface Place {
  readonly file: string
  readonly member: Member | undefined
  readonly members: readonly Member[]
}

const SOURCE = /\.[cm]?[jt]sx?$/
const MEMBER = /^(?:packages|templates|examples)\/[^/]+(?=\/package\.json$)/
const PLUGIN = /^(?:packages\/(?!kit$|testing$)|templates\/)/
/** Below `src`: where a package may import Fastify, and where a plugin may import its types. */
const HTTP = /^(?:index\.ts$|http\/)/
const HTTP_TYPES = /^(?:options|events)\.ts$/
/** `@fastify/error` only makes error classes; the rest of the scope is Fastify. */
const FASTIFY = /^(?:fastify|fastify-plugin|@fastify\/(?!error$).+)$/
const DRIVER = /^(?:ioredis|pg|@electric-sql\/pglite|@fastify\/(?:redis|postgres))$/

/**
 * Checks a tree.
 *
 * @param tree path from the root of the workspace → text, of sources and of each package.json.
 * @returns the breaches, in the order of the files.
 */
export function findBreaches(tree: ReadonlyMap<string, string>): Breach[] {
  const members = [...tree].flatMap(([path, text]) => readMember(path, text) ?? [])
  const sources = new Map<Member, SourceImports[]>()
  const breaches: Breach[] = []
  for (const [file, text] of tree) {
    if (!SOURCE.test(file)) continue
    const member = members.find(({ folder }) => file.startsWith(`${folder}/`))
    const place = { file, member, members }
    const imports = readImports(file, text)
    for (const found of imports) {
      for (const rule of brokenRules(found, place)) {
        const what = found.specifier === null ? 'a computed import' : `'${found.specifier}'`
        breaches.push({ file, line: found.line, rule, message: `${what}: ${rules[rule]}` })
      }
    }
    const path = sourcePathOf(place)
    if (member === undefined || path === undefined) continue
    sources.set(member, [...(sources.get(member) ?? []), { path, imports }])
  }
  return [
    ...breaches,
    ...[...sources].flatMap(([member, files]) => circlesOf(`${member.folder}/src`, files)),
  ]
}

/** The circles among the folders of one package, then those among its files. */
function circlesOf(home: string, sources: readonly SourceImports[]): Breach[] {
  const paths = sources.map(({ path }) => path)
  const imports = innerImports(sources)
  const find = (rule: Rule, nodeOf: (path: string) => string | undefined): Breach[] =>
    findCircles(graphOf(paths, imports, nodeOf)).map((circle) => {
      const steps = stepsOf(circle, imports, nodeOf)
      const reasons = steps.map(({ from, to, line }) => `${from}:${line} imports ${to}`).join('; ')
      return {
        file: `${home}/${steps[0]!.from}`,
        line: steps[0]!.line,
        rule,
        message: `${circle.join(' → ')} (${reasons}): ${rules[rule]}`,
      }
    })
  return [
    ...find('folders-form-no-circle', folderOf),
    ...find('files-form-no-circle', (path) => path),
  ]
}

/** For each step of a circle, the first import that makes it. */
function stepsOf(
  circle: readonly string[],
  imports: readonly InnerImport[],
  nodeOf: (path: string) => string | undefined,
): InnerImport[] {
  return circle.slice(1).flatMap((target, index) => {
    const source = circle[index]
    return imports.find(({ from, to }) => nodeOf(from) === source && nodeOf(to) === target) ?? []
  })
}

/** One line for a terminal. */
export function formatBreach({ file, line, rule, message }: Breach): string {
  return `${file}:${line} ${rule}: ${message}`
}

function readMember(path: string, text: string): Member | undefined {
  const folder = MEMBER.exec(path)?.[0]
  if (folder === undefined) return undefined
  const manifest = JSON.parse(text) as Record<string, unknown> & { readonly name: string }
  const declared = ['dependencies', 'peerDependencies', 'optionalDependencies'].flatMap((field) =>
    Object.keys((manifest[field] as object | undefined) ?? {}),
  )
  const commands = Object.values((manifest['bin'] as Record<string, string> | undefined) ?? {}).map(
    (path) => path.replace(/^\.\/dist\//, '').replace(/\.js$/, '.ts'),
  )
  return { folder, name: manifest.name, declared: new Set(declared), commands: new Set(commands) }
}

function brokenRules({ specifier, typeOnly }: Import, place: Place): Rule[] {
  const { file, member, members } = place
  const source = sourcePathOf(place)
  // A computed import cannot be checked: allowed in tests, and in a command, which may load a file of its user.
  if (specifier === null) {
    return source === undefined || member?.commands.has(source) === true ? [] : ['declared-only']
  }
  const relative = /^(?:\/|\.{1,2}(?:\/|$))/.test(specifier)
  const target = relative ? posix.join(posix.dirname(file), specifier) : specifier
  const other = members.find(({ folder, name }) =>
    relative ? isWithin(target, folder) : isWithin(target, name),
  )
  const broken: Rule[] = []
  const leaf = relative ? isWithin(target, 'examples') : isExample(other)
  if (leaf && !isWithin(file, 'examples')) broken.push('examples-are-leaves')
  if (member === undefined || isExample(member)) return broken
  if (relative && !isWithin(target, member.folder)) broken.push('packages-keep-inside')
  if (isPlugin(member) && isPlugin(other) && other !== member) {
    broken.push('plugins-stay-independent')
  }
  if (other?.folder === 'packages/testing' && other !== member && !isTestFile(place)) {
    broken.push('testing-stays-in-tests')
  }
  if (source !== undefined && importsIndex(target, relative, member)) {
    broken.push('index-is-the-entry')
  }
  if (source === undefined || relative) return broken
  return [...broken, ...brokenSourceRules(specifier, typeOnly, source, member)]
}

/** The rules of what is published: files under `src`, imports by package name. */
function brokenSourceRules(
  specifier: string,
  typeOnly: boolean,
  source: string,
  member: Member,
): Rule[] {
  if (specifier.startsWith('node:')) return []
  const name = /^(?:@[^/]+\/)?[^/]+/.exec(specifier)?.[0] ?? specifier
  const broken: Rule[] = []
  const isKit = member.folder === 'packages/kit'
  if (isKit && !(name === 'fastify' && typeOnly)) broken.push('kit-stays-small')
  if (DRIVER.test(name)) {
    if (!isKit && !typeOnly && !member.commands.has(source)) broken.push('types-only')
  } else if (FASTIFY.test(name) && !HTTP.test(source)) {
    if (isKit || !HTTP_TYPES.test(source)) broken.push('core-without-fastify')
    else if (!typeOnly) broken.push('types-only')
  }
  if (isBuiltin(specifier) || !member.declared.has(name)) broken.push('declared-only')
  return broken
}

/** Whether an import leads to an `index.ts`: by its path, or by the name of the package itself. */
function importsIndex(target: string, relative: boolean, member: Member): boolean {
  return relative ? posix.basename(target) === 'index.ts' : target === member.name
}

function isWithin(path: string, folder: string): boolean {
  return path === folder || path.startsWith(`${folder}/`)
}

function isPlugin(member: Member | undefined): boolean {
  return member !== undefined && PLUGIN.test(member.folder)
}

function isExample(member: Member | undefined): boolean {
  return member?.folder.startsWith('examples/') === true
}

function isTestFile({ file, member }: Place): boolean {
  return member !== undefined && /^\/(?:test|bench)\//.test(file.slice(member.folder.length))
}

/** The path below `src` of a package that is published, or made to be. */
function sourcePathOf({ file, member }: Place): string | undefined {
  if (member === undefined || isExample(member) || member.folder === 'packages/testing') {
    return undefined
  }
  const prefix = `${member.folder}/src/`
  return file.startsWith(prefix) ? file.slice(prefix.length) : undefined
}
