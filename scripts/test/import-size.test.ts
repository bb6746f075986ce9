import { plainNode } from '@parapet/testing'
import { execFileSync } from 'node:child_process'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import t from 'tap'
import { createBootSettings, plugins } from '../../packages/kit/bench/boot/settings.ts'
import { listEntries } from '../bundle.ts'
import { listPublished, workspaceRoot, type WorkspacePackage } from '../workspace.ts'

/**
 * How many files of dependencies an import may load, beyond those of Fastify; most packages load 3. Time
 * depends on the machine, this does not. Before you raise a number, try `import()` at the place that needs
 * the dependency.
 */
const MOST_FILES = 10
const MOST_FILES_OF: Readonly<Record<string, number>> = {
  // 102 and 263: the library that the entry is for, which its app has loaded already.
  'packages/field-encryption/src/orm/drizzle.ts': 130,
  'packages/field-encryption/src/orm/kysely.ts': 300,
  // 271: TypeBox (200), in which the app writes its schemas, and Ajv (61), which Fastify uses for them.
  'packages/input-guard/src/index.ts': 290,
  'packages/kit/src/index.ts': 0,
  'packages/rbac/src/orm/drizzle.ts': 130,
  'packages/rbac/src/orm/kysely.ts': 300,
  // 38: fast-jwt and what it needs.
  'packages/sessions/src/index.ts': 50,
}
/** For all six plugins registered on one app, with the options that they need: 174 were counted. */
const MOST_FILES_AT_BOOT = 220

/** Imports Fastify, then a file, and prints what the second import loaded, ESM and CommonJS. */
const PROBE = `
import { createRequire } from 'node:module'
import { Session } from 'node:inspector'
const [fastifyHome, file] = process.argv.slice(1)
createRequire(fastifyHome)('fastify')
const loaded = new Set()
const session = new Session()
session.connect()
session.on('Debugger.scriptParsed', ({ params }) => void loaded.add(params.url))
// Reports what was parsed before, too.
session.post('Debugger.enable')
loaded.clear()
await import(file)
session.disconnect()
console.log(JSON.stringify([...loaded].filter((url) => url.startsWith('file:'))))
`

/** Lists what importing a file loads. @param input what the file reads from its standard input. */
function listLoaded(file: string, input = ''): string[] {
  const [fastifyHome, url] = ['packages/kit/package.json', file].map(urlOf)
  const [program, args] = plainNode(['--input-type=module', '--eval', PROBE, fastifyHome!, url!])
  const settings = { input, encoding: 'utf8', maxBuffer: 16 * 1024 * 1024 } as const
  return JSON.parse(execFileSync(program, args, settings).trim().split('\n').at(-1)!) as string[]
}

/** Counts the files of dependencies, by package. */
function countDependencies(loaded: readonly string[]): [total: number, counts: object] {
  const counts: Record<string, number> = {}
  for (const name of loaded.flatMap((url) => dependencyOf(url) ?? [])) {
    counts[name] = (counts[name] ?? 0) + 1
  }
  return [Object.values(counts).reduce((sum, count) => sum + count, 0), counts]
}

function urlOf(path: string): string {
  return pathToFileURL(join(workspaceRoot, path)).href
}

/** The package in `node_modules` that a file belongs to. */
function dependencyOf(url: string): string | undefined {
  return /\/node_modules\/((?:@[^/]+\/)?[^/]+)\/(?!.*\/node_modules\/)/.exec(url)?.[1]
}

/** The sources of what a package exports; its commands are left out, because an import runs them. */
function listExported({ folder, manifest }: WorkspacePackage): string[] {
  return listEntries(manifest).exported.map((entry) => `${folder}/src/${entry}.ts`)
}

await t.test('an import loads few files of dependencies', async (t) => {
  const files = listPublished().flatMap(listExported)
  t.ok(files.length >= 7, 'there are packages')
  for (const file of files) {
    await t.test(file, async (t) => {
      const loaded = listLoaded(file)
      t.ok(loaded.includes(urlOf(file)), 'it was loaded')
      const [total, counts] = countDependencies(loaded)
      const most = MOST_FILES_OF[file] ?? MOST_FILES
      t.ok(total <= most, `${total} files of dependencies, at most ${most}`, { counts })
    })
  }
})

await t.test('all plugins on one app load few files of dependencies', async (t) => {
  const directory = t.testdir({})
  const urls = Object.fromEntries(
    plugins.map((name) => [name, urlOf(`packages/${name}/src/index.ts`)] as const),
  )
  const settings = await createBootSettings(urls, directory)
  const loaded = listLoaded('packages/kit/bench/boot/app.mjs', JSON.stringify(settings))
  for (const [name, url] of Object.entries(urls)) t.ok(loaded.includes(url), `${name} was loaded`)
  const [total, counts] = countDependencies(loaded)
  const most = MOST_FILES_AT_BOOT
  t.ok(total <= most, `${total} files of dependencies, at most ${most}`, { counts })
})

await t.test('the count finds ESM and CommonJS, and leaves Fastify out', async (t) => {
  const loaded = listLoaded('packages/testing/src/index.ts')
  const names = new Set(loaded.flatMap((url) => dependencyOf(url) ?? []))
  t.ok(names.has('ioredis'), 'a dependency that is CommonJS')
  t.notOk(names.has('fastify'))
  t.equal(dependencyOf('file:///a/node_modules/.pnpm/x@1/node_modules/@s/x/lib/a.js'), '@s/x')
  t.equal(dependencyOf('file:///a/packages/x/src/index.ts'), undefined)
})
