/** Reads the folder of a project: sources, lockfile, ranges of versions, files with secrets. */
import { existsSync } from 'node:fs'
import { opendir, readFile, stat } from 'node:fs/promises'
import { dirname, join, relative, sep } from 'node:path'
import type { AuditResult, ProjectFacts, SourceFacts, SourceHit } from '../facts/facts.ts'
import { loadParser, scanText } from './scan.ts'
import { nameLeak } from './secret-texts.ts'

const MAX_FILES = 3_000
const MAX_BYTES = 1024 * 1024
const SOURCE = /\.[cm]?[jt]sx?$/
const NOT_SOURCE = /(?:\.d\.[cm]?ts|\.min\.js|[.-](?:test|spec|stories|config)\.[cm]?[jt]sx?)$/
const SKIPPED =
  /^(?:node_modules|dist|build|out|coverage|\..+|tests?|__tests__|__mocks__|specs?|e2e|fixtures|mocks?|bench(?:marks?)?|docs?|vendor|public|static|assets|client|frontend|www)$/
const LOCKFILES = [
  'package-lock.json',
  'npm-shrinkwrap.json',
  'pnpm-lock.yaml',
  'yarn.lock',
  'bun.lock',
  'bun.lockb',
]
const DOCUMENT =
  /^(?:security\.md|security\.txt|(?:.*[-_ ])?(?:incident|runbook|playbook|backup|restore|disaster|operation)s?(?:[-_ .].*)?)$/i
const SECRET_FILE =
  /^(?:\.env(?:\.(?!example$|sample$|template$|dist$|schema$|defaults$).+)?|.+\.(?:pem|key|p12|pfx|jks|keystore)|id_(?:rsa|ed25519|ecdsa)|credentials(?:\.json)?|\.npmrc|\.pgpass)$/i

/** The nearest folder at or above a path that has a package.json. */
export function findProject(start: string): string | undefined {
  for (let folder = start; ; folder = dirname(folder)) {
    if (existsSync(join(folder, 'package.json'))) return folder
    if (dirname(folder) === folder) return undefined
  }
}

/** Scans the sources of a project. Tests, builds and files for browsers are left out. */
export async function scanProject(root: string): Promise<SourceFacts> {
  const parse = await loadParser()
  const hits: SourceHit[] = []
  const skipped: string[] = []
  let files = 0
  for await (const path of walk(root)) {
    const name = path.slice(path.lastIndexOf(sep) + 1)
    if (!SOURCE.test(name) || NOT_SOURCE.test(name)) continue
    const shown = relative(root, path).replaceAll('\\', '/')
    if (++files > MAX_FILES) {
      skipped.push(`more than ${MAX_FILES} files`)
      break
    }
    const { size } = await stat(path)
    const found =
      size > MAX_BYTES ? undefined : scanText(parse, shown, await readFile(path, 'utf8'))
    if (found === undefined) skipped.push(shown)
    else hits.push(...found)
  }
  return { hits, files, skipped }
}

async function* walk(folder: string, depth = 0): AsyncGenerator<string> {
  if (depth > 20) return
  const entries = []
  for await (const entry of await opendir(folder)) entries.push(entry)
  for (const entry of entries.toSorted((a, b) => (a.name < b.name ? -1 : 1))) {
    const path = join(folder, entry.name)
    if (entry.isFile()) yield path
    else if (entry.isDirectory() && !SKIPPED.test(entry.name)) yield* walk(path, depth + 1)
  }
}

interface Manifest {
  readonly dependencies?: Readonly<Record<string, string>>
  readonly optionalDependencies?: Readonly<Record<string, string>>
}

/** Reads what a project's folder says about dependencies, secrets and documents. */
export async function readProject(
  root: string,
  audit: ((root: string) => Promise<AuditResult>) | undefined,
): Promise<ProjectFacts> {
  const manifest = await readManifest(root)
  const names = await listNames(root)
  const documents = names.filter((name) => DOCUMENT.test(name))
  const docs = await listNames(join(root, 'docs'))
  const above = findAbove(root, ['SECURITY.md'])
  return {
    lockfile: findAbove(root, LOCKFILES),
    looseRanges: listLoose({ ...manifest.optionalDependencies, ...manifest.dependencies }),
    secretFiles: await listSecretFiles(root, names),
    documents: [
      ...new Set([...documents, ...(above === undefined ? [] : [above])]),
      ...docs.filter((name) => DOCUMENT.test(name)).map((name) => `docs/${name}`),
    ],
    audit: await audit?.(root),
  }
}

async function readManifest(root: string): Promise<Manifest> {
  try {
    return JSON.parse(await readFile(join(root, 'package.json'), 'utf8')) as Manifest
  } catch {
    return {}
  }
}

async function listNames(folder: string): Promise<string[]> {
  try {
    const names: string[] = []
    for await (const { name } of await opendir(folder)) names.push(name)
    return names.toSorted()
  } catch {
    return []
  }
}

/** A workspace keeps one lockfile, and often its documents, at its root. */
function findAbove(root: string, wanted: readonly string[]): string | undefined {
  for (let folder = root; ; folder = dirname(folder)) {
    const found = wanted.find((name) => existsSync(join(folder, name)))
    if (found !== undefined) return found
    if (existsSync(join(folder, '.git')) || dirname(folder) === folder) return undefined
  }
}

function isLoose(range: string): boolean {
  return (
    /^(?:|\*|x|latest|next|>=?\s*\d[^<]*)$/i.test(range.trim()) ||
    /^(?:http:|git(?:\+|:)|github:|gitlab:|bitbucket:|[\w.-]+\/[\w.-]+)/i.test(range)
  )
}

function listLoose(ranges: Readonly<Record<string, string>>): string[] {
  return Object.entries(ranges)
    .filter(([, range]) => isLoose(range) && !/#[0-9a-f]{40}$/.test(range))
    .map(([name, range]) => `${name}@${range}`)
}

/** Files that hold secrets and that .gitignore does not exclude. */
async function listSecretFiles(root: string, names: readonly string[]): Promise<string[]> {
  const ignored = await readIgnored(root)
  const found: string[] = []
  for (const name of names) {
    if (!SECRET_FILE.test(name) || ignored(name)) continue
    const text = await readFile(join(root, name), 'utf8').catch(() => '')
    const isEnvironment = name.startsWith('.env')
    const isPublicKey = name.endsWith('.pem') && !text.includes('PRIVATE KEY')
    const hasSecret = isEnvironment
      ? /^\s*(?:export\s+)?\w*(?:SECRET|PASSWORD|TOKEN|KEY|_URL|_URI|DSN)\w*\s*=\s*\S/im.test(text)
      : name === '.npmrc'
        ? /_authToken\s*=\s*(?!\$\{)\S/.test(text)
        : nameLeak(text) !== undefined || !/\.(?:pem|json)$|^credentials/.test(name)
    if (hasSecret && !isPublicKey) found.push(name)
  }
  return found
}

/** The patterns of .gitignore here and above that name files of one folder. */
async function readIgnored(root: string): Promise<(name: string) => boolean> {
  const patterns: RegExp[] = []
  for (let folder = root; ; folder = dirname(folder)) {
    const text = await readFile(join(folder, '.gitignore'), 'utf8').catch(() => '')
    for (const line of text.split('\n').map((each) => each.trim())) {
      if (line === '' || line.startsWith('#') || line.startsWith('!')) continue
      const pattern = line.replace(/^(?:\*\*)?\//, '').replace(/\/$/, '')
      if (pattern.includes('/')) continue
      const source = pattern
        .replaceAll(/[.+^${}()|[\]\\]/g, '\\$&')
        .replaceAll('*', '.*')
        .replaceAll('?', '.')
      patterns.push(new RegExp(`^${source}$`))
    }
    if (existsSync(join(folder, '.git')) || dirname(folder) === folder) break
  }
  return (name) => patterns.some((pattern) => pattern.test(name))
}
