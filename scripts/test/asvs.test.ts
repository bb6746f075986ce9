import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { readVectors } from '@parapet/testing'
import t from 'tap'
import { parseClaims, readClaims } from '../asvs/claims.ts'
import { renderAsvs } from '../asvs/page.ts'
import { listTestTitles } from '../asvs/test-titles.ts'
import { workspaceRoot } from '../workspace.ts'

const claims = readClaims()
const read = (path: string): string => readFileSync(join(workspaceRoot, path), 'utf8')

await t.test('titles are found in every form of a test', async (t) => {
  const text = [
    "await t.test('one', async (t) => { await t.test(\"it's two\", async () => {}) })",
    'for (const n of [1]) await t.test(`${n} three`, async () => {})',
    "pattern.test(text); other('no'); t.test(name); run.test",
  ].join('\n')
  t.same(listTestTitles('a.ts', text), ['one', "it's two", '${n} three'])
})

await t.test('each proof is a test that exists, and each page exists', async (t) => {
  const titles = new Map<string, ReadonlySet<string>>()
  const titlesOf = (file: string): ReadonlySet<string> => {
    const known = titles.get(file)
    if (known !== undefined) return known
    const found = new Set(
      existsSync(join(workspaceRoot, file)) ? listTestTitles(file, read(file)) : [],
    )
    titles.set(file, found)
    return found
  }
  const missing = claims.flatMap((claim) => {
    if (claim.status === 'documented') {
      return existsSync(join(workspaceRoot, claim.page)) ? [] : [`${claim.id}: ${claim.page}`]
    }
    if (claim.status !== 'proved') return []
    return claim.proofs
      .filter(({ file, title }) => !titlesOf(file).has(title))
      .map(({ file, title }) => `${claim.id}: ${file} has no test "${title}"`)
  })
  t.same(missing, [], 'rename the test in scripts/asvs/claims.txt, too')
  t.ok(titles.size > 50, 'many files are named')
})

await t.test('a claim that cannot be read is refused with its line', async (t) => {
  t.same(parseClaims('# note\n\nV1.1.1 2 open nothing\n'), [
    { id: 'V1.1.1', level: '2', status: 'open', note: 'nothing' },
  ])
  for (const line of [
    'V1.1 1 open x',
    'V1.1.1 4 open x',
    'V1.1.1 1 done x',
    'V1.1.1 1 documented x',
    'V1.1.1 1 proved x',
  ]) {
    t.throws(() => parseClaims(`\n${line}`), { message: `claims.txt:2 cannot be read: ${line}` })
  }
})

await t.test('the page lists every claim, and counts them', async (t) => {
  const page = renderAsvs(claims)
  for (const { id } of claims) t.match(page, `| ${id} |`)
  t.match(page, new RegExp(`\\| All \\| ${claims.length} \\|`))
  t.equal(new Set(claims.map(({ id }) => id)).size, claims.length, 'no id twice')
})

await t.test('the claims have the requirements of the standard, with their levels', async (t) => {
  const published = readVectors<{ requirements: readonly { req_id: string; L: string }[] }>(
    t,
    'asvs/asvs-5.0.0-en.flat.json',
  )
  if (published === null) return
  t.same(
    claims.map(({ id, level }) => `${id} ${level}`),
    published.requirements.map((each) => `${each.req_id} ${each.L}`),
  )
  const proved = claims.filter(({ status }) => status === 'proved').length
  t.ok(proved >= 205, `${proved} of ${claims.length} are proved`)
})
