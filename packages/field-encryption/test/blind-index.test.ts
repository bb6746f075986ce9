import { blind, compound, Encrypted, parseKeyset } from '@parapet/field-encryption'
import { Type } from '@sinclair/typebox'
import t from 'tap'
import { createIndexer } from '../src/key-ring/indexer.ts'
import { normalizeText } from '../src/blind-index/normalizers.ts'
import { buildFixed, code, keyset } from './fixtures.ts'

const Person = Type.Object({
  id: Type.String(),
  name: Encrypted(Type.String(), {
    index: {
      name_idx: blind({ normalize: ['nfkc', 'lower'] }),
      name_start: blind({ normalize: ['nfkc', 'lower'], prefix: 3 }),
    },
  }),
  city: Encrypted(Type.Union([Type.String(), Type.Null()]), { index: { city_idx: blind() } }),
  score: Encrypted(Type.Number(), { index: { score_idx: blind() } }),
  born: Encrypted(Type.Date()),
  extra: Encrypted(Type.Object({ a: Type.Number(), b: Type.Number() }), {
    index: { extra_idx: blind() },
  }),
})

async function people(t: Parameters<typeof buildFixed>[0]) {
  const { app } = await buildFixed(t)
  const indexes = { name_born: compound(['name', 'born'], { normalize: ['lower'] }) }
  const table = app.fieldEncryption.table('people', Person, { indexes })
  return { app, table }
}

/** The token that an earlier version wrote for a normalized text. */
function formerToken(column: string, name: string, normal: string): string {
  const place = { tenant: '', table: 'people', column, name }
  return createIndexer(parseKeyset(keyset)).tokens(place, blind(), normal)[0]!.token
}

const fold = (text: string) => normalizeText(text, ['lower'])

await t.test('texts that differ in case only are equal, in every script', (t) => {
  // CaseFolding.txt of Unicode 16, statuses C and F.
  const equal: [string, string][] = [
    ['STRASSE', 'straße'],
    ['STRAẞE', 'strasse'],
    ['ΟΔΟΣ', 'οδοσ'],
    ['ΟΔΟΣ', 'οδος'],
    ['ﬁn', 'FIN'],
    ['\u212A', 'k'],
    ['ŉ', 'ʼN'],
    ['ᾳ', 'ΑΙ'],
    ['ſ', 'S'],
    ['µ', 'Μ'],
    ['Ꭰ', 'ꭰ'],
    ['𐐀', '𐐨'],
    ['İ', 'i\u0307'],
  ]
  for (const [one, two] of equal) {
    t.equal(fold(one), fold(two), `${one} ${two}`)
    t.equal(fold(fold(one)), fold(one), 'folding again changes nothing')
  }
  t.not(fold('ı'), fold('i'), 'the dotless i is a letter of its own')
  t.equal(fold('Jane@Example.com'), 'jane@example.com')
  t.end()
})

await t.test('equal values have one token: case, zero, and the order of members', async (t) => {
  const { table } = await people(t)
  const base = { id: '1', born: new Date(0), city: null }
  const one = { ...base, name: 'STRASSE', score: 0, extra: { a: 1, b: 2 } }
  const two = { ...base, name: 'straße', score: -0, extra: { b: 2, a: 1 } }
  const rows = await table.encryptMany([one, two])
  for (const column of ['name_idx', 'name_start', 'score_idx', 'extra_idx', 'name_born']) {
    t.equal(rows[0]![column], rows[1]![column], column)
  }
  t.ok(Object.is((await table.decryptRecord(rows[1]!)).score, -0), 'the value itself is kept')
  const { values } = await table.where('name', 'Straße')
  t.ok((values[0] as string[]).includes(String(rows[0]!['name_idx'])))
})

await t.test(
  'tokens of earlier versions are still found, and reencrypt replaces them',
  async (t) => {
    const { table } = await people(t)
    const former = {
      name: formerToken('name', 'name_idx', 'straße'),
      score: formerToken('score', 'score_idx', '-0'),
      city: formerToken('city', 'city_idx', '"Berlin"'),
      extra: formerToken('extra', 'extra_idx', '{"b":2,"a":1}'),
    }
    const value = { name: 'Straße', score: 0, city: 'Berlin', extra: { b: 2, a: 1 } }
    for (const column of Object.keys(former) as (keyof typeof former)[]) {
      const { tokens } = await table.where(column, value[column])
      t.ok(tokens.includes(former[column]), column)
      t.equal(tokens.length, 2)
    }
    t.equal((await table.where('name', 'Jane')).tokens.length, 1, 'no more than needed')
    const current = await table.encryptRecord({ id: '1', born: new Date(0), ...value })
    let row: Record<string, unknown> = { ...current, name_idx: former.name, city_idx: former.city }
    const source = {
      read: async (cursor: string | null) => (cursor === null ? [row] : []),
      cursorOf: () => '1',
      write: async (_: object, after: object) => {
        row = after as Record<string, unknown>
        return true
      },
    }
    t.match(await table.status({ source }), { staleRows: 1 })
    t.match(await table.reencrypt({ source }), { rewritten: 1 })
    t.equal(row['name_idx'], current['name_idx'])
    t.equal(row['city_idx'], current['city_idx'])
    t.match(await table.status({ source }), { staleRows: 0 })
  },
)

await t.test(
  'a prefix index finds beginnings, and a compound index members together',
  async (t) => {
    const { table } = await people(t)
    const born = new Date('1984-02-29')
    const row = await table.encryptRecord({ id: '1', name: 'Müller', born })
    const start = { index: 'name_start' }
    const { tokens, text } = await table.where('name', 'MÜL', start)
    t.same(tokens, [row['name_start']])
    t.equal(text, '("name_start" = ANY($1))')
    t.match(row['name_start'], /^[0-9a-f]{4}$/, '16 bits')
    t.same((await table.where('name', 'müllerin', start)).tokens, tokens, 'a longer text too')
    await t.rejects(table.where('name', 'mü', start), code('INVALID_ARGUMENT'), 'too short')
    t.not((await table.where('name', 'Müller')).columns[0], 'name_start', 'never by default')
    const both = await table.whereAll({ born, name: 'MÜLLER' })
    t.same([both.columns, both.tokens], [['name_born'], [row['name_born']]])
    await t.rejects(table.whereAll({ name: 'x', city: 'y' }), code('NOT_INDEXED'))
    await t.rejects(table.encryptRecord({ id: '1', name: 'x' }), code('INVALID_ARGUMENT'))
    const none = await table.encryptRecord({ id: '1', name: 'x', born: null as never })
    t.equal(none['name_born'], null)
    t.notOk('name_born' in (await table.decryptRecord(row)))
    t.strictSame(table.leakage.slice(0, 2), [
      { index: 'name_idx', members: ['name'], reveals: 'equal values', bits: 64 },
      { index: 'name_start', members: ['name'], reveals: 'equal prefixes', bits: 16 },
    ])
  },
)

await t.test('an index that cannot work stops the boot', async (t) => {
  const { app } = await buildFixed(t)
  const argument = code('INVALID_ARGUMENT')
  for (const prefix of [0, 65, 1.5]) t.throws(() => blind({ prefix }), argument)
  t.throws(() => blind({ prefix: 3, unique: true }), argument)
  t.throws(() => compound(['a']), argument)
  t.throws(() => compound(['a', 'a']), argument)
  const declare = (indexes: Record<string, ReturnType<typeof compound>>) =>
    app.fieldEncryption.table('people', Person, { indexes })
  const schema = code('INVALID_SCHEMA')
  t.throws(() => declare({ x_idx: compound(['name', 'id']) }), schema, 'id is not encrypted')
  t.throws(() => declare({ name_idx: compound(['name', 'born']) }), schema, 'the name is taken')
  t.throws(() => declare({ city: compound(['name', 'born']) }), schema, 'a member has the name')
  t.throws(() => declare({ 'No Name': compound(['name', 'born']) }), schema)
})
