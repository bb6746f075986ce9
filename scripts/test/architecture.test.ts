import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { drawRooms, replacePictures } from '../room-picture.ts'
import { listPublished, workspaceRoot } from '../workspace.ts'

const page = readFileSync(join(workspaceRoot, 'docs/architecture.md'), 'utf8')

await t.test('every path that the page names exists', async (t) => {
  const paths = [...page.matchAll(/`((?:packages|examples|scripts|templates|docs)\/[^`*<]+)`/g)]
  t.ok(paths.length > 40, 'it names paths')
  const missing = paths
    .map(([, path]) => path!)
    .filter((path) => !existsSync(join(workspaceRoot, path)))
  t.same(missing, [])
})

await t.test('every published package has a picture and a table of its folders', async (t) => {
  for (const { folder } of listPublished()) {
    const name = folder.slice('packages/'.length)
    t.ok(page.includes(`<!-- rooms of ${name} -->`), folder)
    const [, section = ''] = page.split(`\n### ${name}\n`)
    const [table = ''] = section.split('<!-- rooms', 1)
    const listed = [...table.matchAll(/^\| `([\w-]+)\/` \| \S.* \|$/gm)].map(([, room]) => room!)
    const onDisk = readdirSync(join(workspaceRoot, folder, 'src'), { withFileTypes: true })
      .filter((entry) => entry.isDirectory())
      .map((entry) => entry.name)
    t.same(listed.toSorted(), onDisk.toSorted(), `the folders of ${folder}/src`)
  }
})

await t.test('a picture shows rooms and the shortest set of arrows', async (t) => {
  const picture = drawRooms(
    new Map([
      ['index.ts', "import './http/a.ts'; import './service.ts'; import './errors.ts'"],
      ['http/a.ts', "import '../service.ts'; import './b.ts'"],
      ['http/b.ts', ''],
      ['service.ts', "import type { A } from './tokens/a.ts'"],
      ['tokens/a.ts', "import '../errors.ts'"],
      ['errors.ts', ''],
    ]),
  )
  t.same(picture.split('\n'), [
    '```mermaid',
    'flowchart TD',
    '  r0["http/"]',
    '  r1["index.ts"]',
    '  r2["service.ts"]',
    '  r3["tokens/"]',
    '  r0 --> r2',
    '  r1 --> r0',
    '  r2 --> r3',
    '```',
  ])
})

await t.test('the pictures of a page are replaced between their marks', async (t) => {
  const text =
    'a\n<!-- rooms of kit -->\nold\n<!-- end -->\nb\n<!-- rooms of mfa -->\n<!-- end -->\nc'
  const replaced = replacePictures(text, (name) => `[${name}]`)
  t.equal(
    replaced,
    'a\n<!-- rooms of kit -->\n\n[kit]\n\n<!-- end -->\nb\n<!-- rooms of mfa -->\n\n[mfa]\n\n<!-- end -->\nc',
  )
  t.equal(
    replacePictures(replaced, (name) => `[${name}]`),
    replaced,
    'twice is once',
  )
  t.throws(() => replacePictures('<!-- rooms of kit -->\n', () => ''), /needs an "<!-- end -->"/)
})
