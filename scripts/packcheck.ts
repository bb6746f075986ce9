/**
 * The consumer test: packs every published package and the template, checks the tarballs, and uses
 * them outside the workspace: with plain npm, in a bare CommonJS app, in a bare ESM app and with a
 * strict TypeScript compiler. Run it after `pnpm build`, as `pnpm packcheck`.
 *
 * A package may ship `test/consumer/cjs.cjs`, `esm.mjs` and `types.ts`; a plugin with a required
 * option must. If one is missing, the package is imported and, if it is a plugin, registered alone.
 */
import { execFile } from 'node:child_process'
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { readImports } from './imports.ts'
import { findFileFaults } from './packed-files.ts'
import {
  listPackages,
  listPublished,
  readCatalog,
  readManifest,
  workspaceRoot,
  type Manifest,
} from './workspace.ts'

interface Packed {
  readonly name: string
  /** In the workspace, from its root. */
  readonly folder: string
  readonly tarball: string
}

const USE = `
const app = Fastify()
  if (typeof found.default === 'function') await app.register(found.default)
  app.get('/', async () => 'here')
  assert.equal((await app.inject('/')).body, 'here')
  await app.close()`

/** The code that is used when a package does not ship a consumer file. */
const FALLBACKS: Readonly<Record<string, (name: string) => string>> = {
  'cjs.cjs': (name) => `
const assert = require('node:assert/strict')
const Fastify = require('fastify')
const found = require('${name}')
assert.ok(Object.keys(found).length > 0)
async function main() {${USE}
}
main()
`,
  'esm.mjs': (name) => `
import assert from 'node:assert/strict'
import Fastify from 'fastify'
import * as found from '${name}'
assert.ok(Object.keys(found).length > 0)
{${USE}
}
`,
  'types.ts': (name) => `
import * as found from '${name}'
export const names: readonly string[] = Object.keys(found)
export type Names = keyof typeof found
`,
}

/** `skipLibCheck` is off, so that the published declarations are checked too. */
const COMPILER_OPTIONS = {
  target: 'ES2023',
  lib: ['ES2023'],
  types: ['node'],
  module: 'NodeNext',
  strict: true,
  exactOptionalPropertyTypes: true,
  skipLibCheck: false,
  noEmit: true,
}

const NPM_FLAGS = [
  '--no-audit',
  '--no-fund',
  '--prefer-offline',
  '--ignore-scripts',
  '--loglevel=error',
]

const execute = promisify(execFile)
const work = mkdtempSync(join(tmpdir(), 'parapet-packcheck-'))
const tally = { passed: 0, failed: 0 }

/** Runs a program. If it fails, its output is the message of the error. */
async function run(program: string, args: readonly string[], cwd: string): Promise<string> {
  try {
    return (await execute(program, args, { cwd, maxBuffer: 64 * 1024 * 1024 })).stdout
  } catch (error) {
    const { stdout, stderr, message } = error as Error & { stdout: string; stderr: string }
    throw new Error(`${stdout}${stderr}`.trim() || message, { cause: error })
  }
}

function tool(name: string, args: readonly string[], cwd: string): Promise<string> {
  return run(join(workspaceRoot, 'node_modules/.bin', name), args, cwd)
}

/** Runs a check and prints one line for it. After a failure the other checks still run. */
async function check<T>(name: string, task: () => Promise<T>): Promise<T | undefined> {
  const start = performance.now()
  const line = (word: string) =>
    `${word} ${name} (${((performance.now() - start) / 1000).toFixed(1)} s)`
  try {
    const result = await task()
    tally.passed++
    console.log(line('ok  '))
    return result
  } catch (error) {
    tally.failed++
    const text = error instanceof Error ? error.message : String(error)
    console.log(`${line('FAIL')}\n${text.replace(/^/gm, '       ')}`)
    return undefined
  }
}

function expectEmpty(found: readonly string[], problem: string): void {
  if (found.length > 0) throw new Error(`${problem}: ${found.join(', ')}`)
}

async function pack(folder: string, name: string): Promise<Packed> {
  const args = ['pack', '--json', '--pack-destination', work]
  const answer = await run('pnpm', args, join(workspaceRoot, folder))
  const { filename } = JSON.parse(answer.slice(answer.indexOf('{'))) as { filename: string }
  return { name, folder, tarball: filename }
}

/** Checks that the tarball has what {@link findFileFaults} expects. */
async function checkFiles({ name, folder, tarball }: Packed): Promise<void> {
  const unpacked = join(work, name.replace(/\W+/g, '-').slice(1))
  mkdirSync(unpacked)
  await run('tar', ['-xzf', tarball, '--strip-components=1'], unpacked)
  for (const [problem, paths] of findFileFaults(unpacked, folder)) expectEmpty(paths, problem)
}

/** Checks that the packed manifest works outside the workspace. */
async function checkManifest({ tarball }: Packed): Promise<void> {
  const text = await run('tar', ['-xzOf', tarball, 'package/package.json'], work)
  const { scripts = {}, dependencies = {}, peerDependencies = {} } = JSON.parse(text) as Manifest
  const ranges = Object.entries({ ...dependencies, ...peerDependencies })
  const local = ranges.filter(([, range]) => /^(?:workspace|catalog|link|file):/.test(range))
  expectEmpty(
    local.map(([name]) => name),
    'ranges that only the workspace understands',
  )
  const hooks = Object.keys(scripts).filter((name) => /install|prepare/.test(name))
  expectEmpty(hooks, 'scripts that would run when the package is installed')
}

/** What an app installs besides: Fastify, and the optional peers that the consumer files import. */
function listCompanions(packed: readonly Packed[]): string[] {
  const imported = packed.flatMap(({ folder }) => {
    const consumer = join(workspaceRoot, folder, 'test/consumer')
    const names = existsSync(consumer) ? readdirSync(consumer) : []
    const { peerDependencies = {} } = readManifest(folder)
    return names
      .flatMap((name) => readImports(name, readFileSync(join(consumer, name), 'utf8')))
      .flatMap(({ specifier }) => (specifier === null ? [] : [specifier]))
      .filter((specifier) => specifier in peerDependencies)
  })
  return [...new Set(['fastify', '@types/node', ...imported])]
}

/** Creates a bare app and installs every tarball in it with plain npm. */
async function createApp(type: 'commonjs' | 'module', packed: readonly Packed[]): Promise<string> {
  const folder = join(work, `${type}-app`)
  mkdirSync(folder)
  const manifest = { name: `${type}-app`, private: true, type }
  writeFileSync(join(folder, 'package.json'), JSON.stringify(manifest))
  const catalog = readCatalog()
  const companions = listCompanions(packed).map((name) => `${name}@${catalog.get(name)}`)
  const tarballs = packed.map(({ tarball }) => tarball)
  await run('npm', ['install', ...NPM_FLAGS, ...companions, ...tarballs], folder)
  return folder
}

/** Puts the package's own consumer file, or the fallback, into an app. @returns its name there. */
function placeConsumer(app: string, { name, folder }: Packed, file: string): string {
  const placed = `${name.replace(/\W+/g, '-').slice(1)}.${file}`
  let text = FALLBACKS[file]!(name)
  try {
    text = readFileSync(join(workspaceRoot, folder, 'test/consumer', file), 'utf8')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
  }
  writeFileSync(join(app, placed), text)
  return placed
}

async function compile(app: string, packed: Packed): Promise<void> {
  const file = placeConsumer(app, packed, 'types.ts')
  const project = join(app, `${file}.tsconfig.json`)
  writeFileSync(project, JSON.stringify({ compilerOptions: COMPILER_OPTIONS, files: [file] }))
  await tool('tsc', ['-p', project], app)
}

/** Checks that an example of one plugin prints the header that the plugin sends. */
async function checkExample(file: string, app: string): Promise<void> {
  await check(`examples/one-plugin/${file} runs`, async () => {
    copyFileSync(join(workspaceRoot, 'examples/one-plugin', file), join(app, file))
    const printed = await run(process.execPath, [file], app)
    if (!printed.includes("default-src 'none'")) throw new Error(`it printed ${printed}`)
  })
}

async function main(): Promise<void> {
  const packed: Packed[] = []
  for (const { folder, manifest } of [...listPublished(), ...listPackages(['templates'])]) {
    const { name } = manifest
    const one = await check(`${name} packs`, () => pack(folder, name))
    if (one === undefined) continue
    packed.push(one)
    await check(`${name} has the right files`, () => checkFiles(one))
    await check(`${name} has a manifest that works outside the workspace`, () => checkManifest(one))
    await check(`${name} publint`, () => tool('publint', ['--strict', one.tarball], work))
    // node10 knows no `exports`; the Node versions that the packages support do.
    const attw = [one.tarball, '--profile', 'node16', '--ignore-rules', 'cjs-resolves-to-esm']
    await check(`${name} attw`, () => tool('attw', attw, work))
  }
  const commonjs = await check('a CommonJS app installs them', () => createApp('commonjs', packed))
  const esm = await check('an ESM app installs them', () => createApp('module', packed))
  for (const one of packed) {
    const { name } = one
    if (commonjs !== undefined) {
      const file = placeConsumer(commonjs, one, 'cjs.cjs')
      await check(`${name} runs from CommonJS`, () => run(process.execPath, [file], commonjs))
    }
    if (esm !== undefined) {
      const file = placeConsumer(esm, one, 'esm.mjs')
      await check(`${name} runs from ESM`, () => run(process.execPath, [file], esm))
      await check(`${name} compiles for a strict consumer`, () => compile(esm, one))
    }
  }
  if (commonjs !== undefined) await checkExample('cjs.cjs', commonjs)
  if (esm !== undefined) await checkExample('esm.mjs', esm)
}

try {
  await main()
} finally {
  rmSync(work, { recursive: true, force: true })
}
console.log(`packcheck: ${tally.passed} passed, ${tally.failed} failed`)
process.exitCode = tally.failed === 0 ? 0 : 1
