import { readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import {
  listFiles,
  listPackages,
  readCatalog,
  readManifest,
  workspaceRoot,
  type Manifest,
} from '../workspace.ts'

const read = (path: string): string => readFileSync(join(workspaceRoot, path), 'utf8')
const files = listFiles()
const texts = files.filter((path) => !/\.(?:png|ico|gz|woff2?|wasm)$/.test(path))
const members = listPackages()
const workflows = files.filter((path) => /^\.github\/workflows\/.*\.ya?ml$/.test(path))

/** The public home of the workspace; the one place to change, besides the manifests. */
const REPOSITORY = 'https://github.com/parapet/parapet'

/** What no file may contain, each with a text that the pattern must find. */
const LEAKS: readonly [what: string, pattern: RegExp, sample: string][] = [
  [
    'a path of a developer machine',
    /(?:^|[\s"'`(=:,[]|file:\/\/)\/(?:work|root|home|Users)\/[\w.-]/m,
    ['', 'home', 'someone'].join('/'),
  ],
  [
    'the address of a package registry',
    /\bregistry\.[\w-]+\.[a-z]{2,}|\/\/npm\.[\w-]+\.[a-z]{2,}/i,
    ['registry', 'example', 'org'].join('.'),
  ],
  ['an unfinished merge', /^(?:<{7}|>{7}) /m, `${'<'.repeat(7)} HEAD`],
]

await t.test('no file names the machine it was written on', async (t) => {
  for (const [what, pattern, sample] of LEAKS) {
    t.match(sample, pattern, `the pattern finds ${what}`)
    const found = texts.filter((path) => pattern.test(read(path)))
    t.same(found, [], `no file contains ${what}`)
  }
})

/**
 * Words of a riddling style (see "Language" in CONTRIBUTING.md); names in code count too. A field term
 * may be allowed below, with its reason.
 */
const RIDDLES =
  /\b(?:whoever|nobody who|deeds?|stands in|is told|are told|last words|that hand|strangers?|racers?)\b/gi
const RIDDLES_IN = /^(?:packages|templates|examples|scripts|docs)\/|^[^/]+\.md$/
const ALLOWED_RIDDLES: readonly [path: RegExp, word: RegExp, reason: string][] = [
  [/^scripts\/test\/hygiene\.test\.ts$/, /./, 'the list of these words'],
]

/** Lists the riddling words of a file and its path, as `path:line: word`, except the allowed ones. */
function findRiddles(path: string, text: string): string[] {
  const allowed = ALLOWED_RIDDLES.filter(([file]) => file.test(path))
  return [path, ...text.split('\n')].flatMap((line, index) =>
    // `strangerKeys` and `STRANGER_KEYS` are words, too.
    [...line.replaceAll(/([a-z\d])(?=[A-Z])|_/g, '$1 ').matchAll(RIDDLES)]
      .filter(([word]) => !allowed.some(([, pattern]) => pattern.test(word)))
      .map(([word]) => `${path}:${index}: "${word}" in: ${line.trim().slice(0, 120)}`),
  )
}

await t.test('no text, name or path uses the words of riddles', async (t) => {
  t.same(findRiddles('a/deed.ts', '// What WHOEVER asks is told\nnewStrangers = A_RACER // ok'), [
    'a/deed.ts:0: "deed" in: a/deed.ts',
    'a/deed.ts:1: "WHOEVER" in: // What WHOEVER asks is told',
    'a/deed.ts:1: "is told" in: // What WHOEVER asks is told',
    'a/deed.ts:2: "Strangers" in: newStrangers = A_RACER // ok',
    'a/deed.ts:2: "RACER" in: newStrangers = A_RACER // ok',
  ])
  const found = texts
    .filter((path) => RIDDLES_IN.test(path) && !path.endsWith('CHANGELOG.md'))
    .flatMap((path) => findRiddles(path, read(path)))
  t.same(found, [], 'else write plain English in these lines')
})

await t.test('no package made from the template has a name of it left', async (t) => {
  const found = files
    .filter((path) => /^(?:packages|examples)\//.test(path))
    .filter((path) => /@parapet\/template|PARAPET_TEMPLATE|templatePlugin/.test(read(path)))
  t.same(found, [])
})

/** Lists the packages of the scope that a text names and the workspace does not have. */
function findUnknownPackages(path: string, text: string): string[] {
  // The condition of `exports` that names the sources.
  const known = new Set([...members.map(({ manifest }) => manifest.name), '@parapet/source'])
  const named = [...text.matchAll(/@parapet\/[a-z][a-z-]*[a-z]/g)].map(([name]) => name)
  return [...new Set(named)].filter((name) => !known.has(name)).map((name) => `${path}: ${name}`)
}

/** Times and orders, which anybody may guess. */
const GUESSABLE = [
  'packages/anomaly-guard/src/behaviour/scorer.ts',
  'packages/kit/src/jobs/memory-jobs.ts',
  'packages/secrets/src/service.ts',
]

await t.test('what must not be guessed is made by a cryptographic generator', async (t) => {
  const sources = texts.filter((path) =>
    /^(?:packages\/[^/]+|examples\/[^/]+|templates\/[^/]+)\/src\/.*\.[cm]?[jt]sx?$/.test(path),
  )
  t.ok(sources.length > 500, `${sources.length} sources were read`)
  const weak = sources.filter((path) => /\bMath\.random\s*(?:\(\)|,)/.test(read(path)))
  t.same(weak, GUESSABLE)
})

await t.test('no README names a package that does not exist', async (t) => {
  t.same(findUnknownPackages('a', '@parapet/kit, @parapet/kits or `@parapet/kits`.'), [
    'a: @parapet/kits',
  ])
  const readmes = files.filter((path) => /(?:^|\/)README\.md$/.test(path))
  t.ok(readmes.length >= members.length, 'there are READMEs')
  t.same(
    readmes.flatMap((path) => findUnknownPackages(path, read(path))),
    [],
  )
})

await t.test('every manifest follows the same rules', async (t) => {
  const { engines } = readManifest('.')
  for (const { folder, manifest } of members) {
    const isTool = folder === 'packages/testing'
    await t.test(manifest.name, async (t) => {
      const name = folder === 'templates/plugin' ? 'template' : folder.split('/')[1]
      t.match(manifest, { name: `@parapet/${name}`, license: 'MIT', type: 'module' })
      t.match(manifest.version, /^\d+\.\d+\.\d+/, 'a version for the change log')
      t.ok((manifest.description ?? '').length >= 10, 'a description')
      t.same(manifest.engines, engines, 'the engines of the root')
      if (isTool) return
      t.equal(manifest.sideEffects, false)
      t.same(manifest.files, ['dist', 'src', '!dist/.tsbuildinfo'])
      t.same(
        Object.entries(manifest.exports?.['.'] ?? {}),
        [
          ['@parapet/source', './src/index.ts'],
          ['types', './dist/index.d.ts'],
          ['default', './dist/index.js'],
        ],
        'the exports, the source first',
      )
      t.equal(manifest.exports?.['./package.json'], './package.json')
      t.ok(files.includes(`${folder}/README.md`), 'a README')
      t.ok(files.includes(`${folder}/tsconfig.build.json`), 'a build')
      t.ok(read('tsconfig.build.json').includes(`"${folder}/tsconfig.build.json"`), 'is built')
      const { homepage, repository, bugs } = manifest
      t.same(
        { homepage, repository, bugs },
        {
          homepage: `${REPOSITORY}/tree/main/${folder}#readme`,
          repository: { type: 'git', url: `git+${REPOSITORY}.git`, directory: folder },
          bugs: `${REPOSITORY}/issues`,
        },
        'where npm sends a reader',
      )
      t.same(manifest.publishConfig, manifest.private === true ? undefined : { access: 'public' })
    })
  }
  t.ok(files.includes('LICENSE'), 'the licence that pnpm packs into each package')
})

await t.test('versions come from the catalog', async (t) => {
  const catalog = readCatalog()
  t.ok(catalog.size > 5 && catalog.has('fastify') && catalog.has('@types/node'), 'it was read')
  const used = new Set(Object.keys(readManifest('.').devDependencies ?? {}))
  for (const { folder, manifest } of listPackages(['packages', 'templates', 'examples'])) {
    const { dependencies, devDependencies, optionalDependencies } = manifest
    const ranges = { ...dependencies, ...devDependencies, ...optionalDependencies }
    for (const [name, range] of Object.entries(ranges)) {
      used.add(name)
      const expected = name.startsWith('@parapet/') ? /^workspace:[\^*]$/ : /^catalog:$/
      t.match(range, expected, `${folder} depends on ${name}`)
    }
    t.notOk('@parapet/testing' in (dependencies ?? {}), `${folder} ships without the test helpers`)
  }
  t.same(
    [...catalog.keys()].filter((name) => !used.has(name)),
    [],
    'nothing in the catalog is unused',
  )
})

await t.test('the root pins its tools', async (t) => {
  const { devDependencies, packageManager } = readManifest('.') as Manifest & {
    readonly packageManager: string
  }
  for (const [name, range] of Object.entries(devDependencies ?? {})) {
    t.match(range, /^(?:\d+\.\d+\.\d+|catalog:|workspace:\*)$/, name)
  }
  const pinned = ['package.json', ...workflows].flatMap(
    (path) => read(path).match(/pnpm@[\d.]+/g) ?? [],
  )
  t.same([...new Set(pinned)], [packageManager], 'one version of pnpm')
})

await t.test('a workflow starts without permissions, and its actions are pinned', async (t) => {
  t.ok(workflows.length >= 2, 'there are workflows')
  for (const path of workflows) {
    const text = read(path)
    t.match(text.slice(0, text.indexOf('\njobs:')), /^permissions: \{\}$/m, `${path}: no rights`)
    const jobs = text.slice(text.indexOf('\njobs:')).match(/^ {2}[\w-]+:\n/gm) ?? []
    const granted = text.match(/^ {4}permissions:\n {6}\w/gm) ?? []
    t.equal(granted.length, jobs.length, `${path}: each job names its own`)
    t.notMatch(text, /pull_request_target|\$\{\{[^}]*(?:head_ref|\.title|\.body)/, `${path}: safe`)
    const uses = text.match(/^.*\buses:.*$/gm) ?? []
    t.ok(uses.length > 0, `${path}: uses actions`)
    for (const line of uses) {
      t.match(line, /uses: [\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$/, line.trim())
    }
    const checkouts = uses.filter((line) => line.includes('actions/checkout'))
    const careful = text.match(/persist-credentials: false/g) ?? []
    t.equal(careful.length, checkouts.length, `${path}: no checkout keeps its token`)
  }
})

await t.test('the CI script is executable', async (t) => {
  t.equal(statSync(join(workspaceRoot, '.ci/run')).mode & 0o111, 0o111)
  t.match(read('.ci/run'), /^#!\/usr\/bin\/env bash\n/)
})
