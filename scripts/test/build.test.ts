import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { SourceMap, type SourceMapPayload } from 'node:module'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { pathToFileURL } from 'node:url'
import t, { type Test } from 'tap'
import { bundlePackage, listEntries } from '../bundle.ts'
import { listPackages, workspaceRoot } from '../workspace.ts'

const SOURCES = {
  'index.ts': `import { helper } from './helper.ts'
export { Refused } from './errors.ts'
export const ready: string = helper('ready')
export async function later() { return (await import('./later/part.ts')).part() }
export async function optional() { return import('not-installed') }
`,
  'errors.ts': `/** When it is refused. */
export class Refused extends Error {}
`,
  'helper.ts': `import type { Readable } from 'node:stream'
export type Stream = Readable
export function helper(text: string): string {
  return text + '!'
}
`,
  'later/part.ts': `import { Refused } from '../errors.ts'
import { also } from './also.ts'
Reflect.set(globalThis, 'loadedLater', true)
export function part(): Error { return new Refused(also) }
`,
  'later/also.ts': `import { helper } from '../helper.ts'
export const also: string = helper('also')
`,
  'verify/command.ts': `#!/usr/bin/env node
import { Refused } from '../errors.ts'
import { part } from '../later/part.ts'
throw new Refused('the command: ' + part().message)
`,
}

const only = { exported: ['index'], commands: [] }

/** A package of its own, outside the workspace. */
function createPackage(t: Test, sources: Readonly<Record<string, string>>): string {
  const home = mkdtempSync(join(tmpdir(), 'parapet-build-'))
  t.after(() => rmSync(home, { recursive: true }))
  writeFileSync(join(home, 'package.json'), JSON.stringify({ type: 'module' }))
  for (const [path, text] of Object.entries(sources)) {
    mkdirSync(dirname(join(home, 'src', path)), { recursive: true })
    writeFileSync(join(home, 'src', path), text)
  }
  return home
}

function readMap(file: string): SourceMapPayload {
  return JSON.parse(readFileSync(`${file}.map`, 'utf8')) as SourceMapPayload
}

await t.test('a package with one entry becomes one file that maps to its sources', async (t) => {
  const home = createPackage(t, {
    'index.ts': "export { Refused } from './errors.ts'\nexport { helper } from './helper.ts'\n",
    'errors.ts': SOURCES['errors.ts'],
    'helper.ts': SOURCES['helper.ts'],
  })
  t.strictSame(await bundlePackage(home, only), ['index.js', 'index.js.map'])
  const file = join(home, 'dist/index.js')
  const code = readFileSync(file, 'utf8')
  t.match(code, /\n\/\/# sourceMappingURL=index\.js\.map$/)
  t.notMatch(code, 'When it is refused', 'the declarations carry the docblocks')
  const map = readMap(file)
  t.strictSame(map.sources.toSorted(), ['../src/errors.ts', '../src/helper.ts'])
  t.notOk('sourcesContent' in map, 'the sources are published as files')
  const line = code.split('\n').findIndex((text) => text.includes('return text + "!"'))
  t.match(new SourceMap(map).findEntry(line, 1), {
    originalSource: '../src/helper.ts',
    originalLine: 3,
  })
})

await t.test('entries share their modules, and what loads later does', async (t) => {
  const home = createPackage(t, SOURCES)
  const files = await bundlePackage(home, { exported: ['index'], commands: ['verify/command'] })
  t.strictSame(
    files.filter((path) => path.endsWith('.js')).toSorted(),
    ['chunks/later-part.js', 'chunks/shared.js', 'index.js', 'verify/command.js'],
    'the names are stable',
  )
  // A file that only passes on what another one exports has nothing to map.
  for (const path of files.filter((path) => path.endsWith('.map'))) {
    const file = join(home, 'dist', path.slice(0, -'.map'.length))
    for (const source of readMap(file).sources) {
      t.ok(existsSync(join(dirname(file), source)), `${path} names ${source}`)
    }
  }
  const index = (await import(pathToFileURL(join(home, 'dist/index.js')).href)) as {
    readonly Refused: typeof Error
    readonly later: () => Promise<Error>
    readonly optional: () => Promise<unknown>
  }
  t.strictSame(Object.keys(index), ['Refused', 'later', 'optional', 'ready'], 'no other export')
  t.equal(Reflect.get(globalThis, 'loadedLater'), undefined, 'not loaded with the entry')
  const made = await index.later()
  t.equal(Reflect.get(globalThis, 'loadedLater'), true)
  t.ok(made instanceof index.Refused, 'the class exists once')
  t.match(made.message, 'also!')
  await t.rejects(
    index.optional(),
    { code: 'ERR_MODULE_NOT_FOUND' },
    'a peer is imported when used',
  )
  const command = join(home, 'dist/verify/command.js')
  t.match(readFileSync(command, 'utf8'), /^#!\/usr\/bin\/env node\n/)
  t.throws(() => execFileSync(process.execPath, [command], { stdio: 'pipe' }), /the command: also!/)
})

await t.test(
  'exports share what they have in common, and load nothing of each other',
  async (t) => {
    const home = createPackage(t, {
      ...SOURCES,
      'other.ts': "export { Refused } from './errors.ts'\nexport const other = 'other'\n",
    })
    const files = await bundlePackage(home, { exported: ['index', 'other'], commands: [] })
    t.strictSame(files.filter((path) => path.endsWith('.js')).toSorted(), [
      'chunks/shared-index-other.js',
      'chunks/shared-index.js',
      'index.js',
      'later/part.js',
      'other.js',
    ])
    const urlOf = (path: string) => pathToFileURL(join(home, 'dist', path)).href
    const index = (await import(urlOf('index.js'))) as { readonly Refused: typeof Error }
    const other = (await import(urlOf('other.js'))) as { readonly Refused: typeof Error }
    t.equal(index.Refused, other.Refused, 'the class exists once')
    const text = readFileSync(join(home, 'dist/other.js'), 'utf8')
    t.notMatch(text, /from "\.\/(?:index|chunks\/shared-index)\.js"/)
  },
)

await t.test('an import that does not resolve fails the build', async (t) => {
  const missing = createPackage(t, { 'index.ts': "export { a } from './missing.ts'\n" })
  await t.rejects(bundlePackage(missing, only), /Could not resolve '\.\/missing\.ts'/)
  const absent = createPackage(t, { ...SOURCES, 'index.ts': "export { b } from './helper.ts'\n" })
  await t.rejects(bundlePackage(absent, only), /"b" is not exported by "src\/helper\.ts"/)
})

await t.test('the entries are the exports and the commands', (t) => {
  const exports = {
    '.': { types: './dist/index.d.ts', default: './dist/index.js' },
    './package.json': './package.json',
    './tests': { default: './dist/tests/index.js' },
  }
  const bin = { a: './dist/a.js', b: './dist/a.js' }
  t.strictSame(listEntries({ name: 'x', exports, bin }), {
    exported: ['index', 'tests/index'],
    commands: ['a'],
  })
  t.strictSame(listEntries({ name: 'x', bin: './dist/cli.js' }).commands, ['cli'])
  t.strictSame(listEntries({ name: 'x' }), { exported: [], commands: [] })
  for (const { folder, manifest } of listPackages()) {
    const { exported, commands } = listEntries(manifest)
    const missing = [...exported, ...commands].filter(
      (name) => !existsSync(join(workspaceRoot, folder, 'src', `${name}.ts`)),
    )
    t.same(missing, [], `${folder}: every entry has its source`)
  }
  t.end()
})
