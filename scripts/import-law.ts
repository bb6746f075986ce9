/**
 * The import law: who may import whom. It reads texts, not the disk, so that its own test can break
 * every rule without leaving a broken file behind.
 */
import { isBuiltin } from 'node:module'
import { posix } from 'node:path'
import { readImports, type Import } from './imports.ts'

/** The rules, each with the sentence that a breach prints. */
export const rules = Object.freeze({
  'plugins-stand-alone': 'a plugin imports no other plugin, not even its types',
  'packages-keep-inside': 'a package reaches no file outside its own folder',
  'kit-stays-small': 'kit imports `node:` and, as types only, `fastify`',
  'core-knows-no-fastify': 'only the wiring of a plugin imports Fastify',
  'types-only':
    'options.ts and events.ts import only types of Fastify, adapters only types of a driver',
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
}

interface Place {
  readonly file: string
  readonly member: Member | undefined
  readonly members: readonly Member[]
}

const SOURCE = /\.[cm]?[jt]sx?$/
const MEMBER = /^(?:packages|templates|examples)\/[^/]+(?=\/package\.json$)/
const PLUGIN = /^(?:packages\/(?!kit$|testing$)|templates\/)/
const WIRING = /^(?:.*-)?(?:index|routes|hooks)\.ts$/
const TYPED_WIRING = /^(?:options|events)\.ts$/
const ADAPTER = /-(?:redis|postgres)\.ts$/
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
  const breaches: Breach[] = []
  for (const [file, text] of tree) {
    if (!SOURCE.test(file)) continue
    const member = members.find(({ folder }) => file.startsWith(`${folder}/`))
    for (const found of readImports(file, text)) {
      for (const rule of brokenRules(found, { file, member, members })) {
        const what = found.specifier === null ? 'a computed import' : `'${found.specifier}'`
        breaches.push({ file, line: found.line, rule, message: `${what}: ${rules[rule]}` })
      }
    }
  }
  return breaches
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
  return { folder, name: manifest.name, declared: new Set(declared) }
}

function brokenRules({ specifier, typeOnly }: Import, place: Place): Rule[] {
  const { file, member, members } = place
  const source = sourcePathOf(place)
  // What cannot be read cannot be checked; tests may compute, what is published may not.
  if (specifier === null) return source === undefined ? [] : ['declared-only']
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
  if (isPlugin(member) && isPlugin(other) && other !== member) broken.push('plugins-stand-alone')
  if (other?.folder === 'packages/testing' && other !== member && !isTestFile(place)) {
    broken.push('testing-stays-in-tests')
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
  if (member.folder === 'packages/kit' && !(name === 'fastify' && typeOnly)) {
    broken.push('kit-stays-small')
  }
  if (isPlugin(member)) {
    const base = posix.basename(source)
    const wiring = WIRING.test(base)
    const typedWiring = TYPED_WIRING.test(base)
    if (DRIVER.test(name) && !wiring) {
      if (!ADAPTER.test(base) || !typeOnly) broken.push('types-only')
    } else if (FASTIFY.test(name) && !wiring) {
      if (!typedWiring) broken.push('core-knows-no-fastify')
      else if (!typeOnly) broken.push('types-only')
    }
  }
  if (isBuiltin(specifier) || !member.declared.has(name)) broken.push('declared-only')
  return broken
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
