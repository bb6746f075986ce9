import * as posture from '@parapet/posture'
import {
  checkErrorDocs,
  checkInstallNote,
  checkOptionsTable,
  checkPublicNames,
  checkReadmeLength,
  checkReferenceLink,
  checkSnippets,
  readReadme,
  readVectors,
} from '@parapet/testing'
import t from 'tap'
import { checkedIds } from '../src/checks/judge.ts'
import { OPTIONS, USAGE } from '../src/command/arguments.ts'
import { optionTable } from '../src/options.ts'

const home = new URL('../', import.meta.url)
const readme = readReadme(home)

await t.test('the README agrees with the code, and its examples run', async (t) => {
  checkReadmeLength(t, readme)
  checkInstallNote(t, readme)
  checkReferenceLink(t, readme, '@parapet/posture')
  checkOptionsTable(t, readme, optionTable)
  await checkErrorDocs(t, home, posture)
  await checkSnippets(t, home)
  t.match(readme, `${posture.checklist.length} lines`, 'the number of lines')
})

await t.test('every argument is in the usage, and in the README', async (t) => {
  for (const name of Object.keys(OPTIONS)) {
    t.match(USAGE + (name === 'help' ? '--help' : ''), `--${name}`)
    if (!['help', 'checklist'].includes(name)) t.match(readme, `--${name}`)
  }
})

await t.test('the package exports what it promises, and nothing else', async (t) => {
  const errors = Object.keys(posture).filter((name) => name.startsWith('PARAPET_'))
  t.equal(errors.length, 6)
  const names = [
    'checkPosture',
    'checklist',
    'renderChecklist',
    'renderJunit',
    'renderSarif',
    'renderTable',
  ]
  checkPublicNames(t, posture, [...errors, ...names])
})

await t.test('every line has a check, every check a line, and no id is used twice', async (t) => {
  const ids = posture.checklist.map(({ id }) => id)
  t.equal(new Set(ids).size, ids.length)
  t.same(checkedIds.toSorted(), ids.toSorted())
  for (const { id, title, fix, checkedBy } of posture.checklist) {
    t.match(id, /^[A-Z]{3}-\d\d$/)
    t.ok(title !== '' && fix.endsWith('.') && checkedBy.length > 0, id)
  }
})

await t.test('every requirement that a line names is one of ASVS 5.0.0', async (t) => {
  const vectors = readVectors<{ readonly requirements: readonly { readonly req_id: string }[] }>(
    t,
    'asvs/asvs-5.0.0-en.flat.json',
  )
  if (vectors === null) return
  const known = new Set(vectors.requirements.map(({ req_id: id }) => id))
  const unknown = posture.checklist.flatMap(({ id, asvs }) =>
    asvs.filter((each) => !known.has(each)).map((each) => `${id} ${each}`),
  )
  t.same(unknown, [])
})
