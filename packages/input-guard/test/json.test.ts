import { inputGuard, jsonGuard } from '@parapet/input-guard'
import { runs } from '@parapet/testing'
import fc from 'fast-check'
import Fastify from 'fastify'
import t from 'tap'
import { JsonScanner, type JsonLimits } from '../src/json/scan-json.ts'
import { build, post } from './helpers.ts'
import { judgeJson } from './json-oracle.ts'

const LIMITS: JsonLimits = {
  maxDepth: 32,
  maxKeys: 100_000,
  maxArrayLength: 100_000,
  maxStringBytes: 1_000_000,
  refuseOperators: false,
  refuseInexactNumbers: true,
}
const scan = (text: string, limits: Partial<JsonLimits> = {}) =>
  new JsonScanner({ ...LIMITS, ...limits }).scan(Buffer.from(text))

await t.test('a key that is sent twice in one object is found, in any notation', async (t) => {
  const found = [
    '{"a":1,"a":2}',
    '{"a":1,"b":{"c":1,"c":2}}',
    '[{"a":1},{"a":1,"a":1}]',
    String.raw`{"a":1,"\u0061":2}`,
    String.raw`{"\u0061":1,"a":2}`,
    String.raw`{"a\/b":1,"a/b":2}`,
    '{"a" : 1 , "a"\n:\t2}',
    '{"":1,"":2}',
    '{"é":1,"é":2}',
    String.raw`{"é":1,"\u00e9":2}`,
    `{${Array.from({ length: 40 }, (_, i) => `"k${i}":0`).join()},"k0":1}`,
    `{${Array.from({ length: 40 }, (_, i) => `"k${i}":0`).join()},"k39":1}`,
    `{"${'x'.repeat(100)}":1,"${'x'.repeat(100)}":2}`,
    '{"a":{"a":1},"a":2}',
    '{"constructor":1,"constructor":2}',
  ]
  for (const text of found) t.equal(scan(text), 'duplicate_key', text.slice(0, 60))
  const free = [
    '{"a":1,"b":{"a":1},"c":[{"a":1},{"a":2}]}',
    '{"a":"a","b":"a"}',
    '["a","a",{"a":"\\"a\\":1"}]',
    '{"a\\"b":1,"a":2}',
    '{"a":1}',
    '"a"',
    '{"aa":1,"a":2,"aaa":3}',
    '{"constructor":{"points":10}}',
  ]
  for (const text of free) t.equal(scan(text), null, text)
  const scanner = new JsonScanner(LIMITS)
  const written = [
    'a',
    String.raw`\u0061`,
    String.raw`a\"`,
    String.raw`a\\`,
    String.raw`\u0061\u0022`,
  ]
  const pairs = written.flatMap((first) => written.map((second) => [first, second] as const))
  for (let turn = 0; turn < 3; turn++) {
    for (const [first, second] of pairs) {
      const isTwice = JSON.parse(`"${first}"`) === JSON.parse(`"${second}"`)
      const text = `[{"${first}":1},{"${first}":1,"${second}":{"${first}":2}}]`
      t.equal(scanner.scan(Buffer.from(text)), isTwice ? 'duplicate_key' : null, text)
    }
    for (const [text, fault] of [
      [String.raw`{"a":1,"\u005f_proto__":1}`, 'prototype_key'],
      [String.raw`{"a":1,"\u0000":1}`, 'nul'],
      [String.raw`{"a":1,"\ud800":1}`, 'lone_surrogate'],
    ] as const) {
      t.equal(scanner.scan(Buffer.from(text)), fault, text)
    }
  }
})

await t.test('a scanner that has seen other texts decides as a new one', async (t) => {
  const scanner = new JsonScanner({ ...LIMITS, refuseInexactNumbers: false })
  const key = fc.oneof(
    fc.constantFrom('a', 'b', 'ab', 'constructor', ''),
    fc.string({ maxLength: 6, unit: 'grapheme' }),
  )
  const pairs = fc.array(fc.tuple(key, fc.jsonValue({ maxDepth: 2 })), { maxLength: 8 })
  fc.assert(
    fc.property(pairs, fc.boolean(), (members, escape) => {
      const names = members.map(([name]) => name)
      const text = `{${members
        .map(([name, value], index) => {
          const written =
            escape && index % 2 === 1 && name !== ''
              ? `"${Array.from(name)
                  .map((each) =>
                    each
                      .split('')
                      .map((unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`)
                      .join(''),
                  )
                  .join('')}"`
              : JSON.stringify(name)
          return `${written}:${JSON.stringify(value)}`
        })
        .join()}}`
      if (/\\u0000|prototype|__proto__|\\ud[89a-f]/i.test(text)) return true
      const expected = new Set(names).size !== names.length
      return (scanner.scan(Buffer.from(text)) === 'duplicate_key') === expected
    }),
    { numRuns: 2000 },
  )
  t.pass('2000 objects')
})

/** Texts and keys whose lengths and bytes are at the edges of what the scanner compares at once. */
const edges = [0, 1, 2, 3, 4, 5, 61, 62, 67, 68, 71, 127, 128, 129, 1024, 1025]
const strings = edges
  .map((length) => 'k'.repeat(length))
  .concat('constructor prototype __proto__ $ne a ab key1 key2 é 日本語 😀'.split(' '))
  .concat('a"b', 'a\\b', '"a":1', ',"a":1', '{"a":1}', '\n'.repeat(9), `${'x'.repeat(70)}"y`)
  .concat('\0', '\ud800', 'a\udc00', '\ud800\ud800', '\0\ud800')
const numbers =
  '0 -1 12 1.5 1e5 1E+400 -0 9007199254740991 9007199254740992 123456789012345 1234567890123456 1e-5'
const space = fc.constantFrom('', '', '', '', ' ', '\n  ', '\t')

/** A string as JSON: as it is, or with some or all of its characters escaped. */
const written = fc
  .tuple(fc.constantFrom(...strings), fc.constantFrom(0, 0, 0, 1, 2))
  .map(([text, every]) => {
    if (every === 0) return JSON.stringify(text)
    const units = text.split('').map((unit, at) => {
      const isPlain = at % every !== 0 || !/[a-z$_]/.test(unit)
      const code = unit.charCodeAt(0).toString(16).padStart(4, '0')
      return isPlain ? JSON.stringify(unit).slice(1, -1) : `\\u${code}`
    })
    return `"${units.join('')}"`
  })
const join = (open: string, close: string) => (parts: readonly string[][]) =>
  `${open}${parts.map((each) => each.join('')).join(',')}${close}`
const { json } = fc.letrec<{ json: string }>((tie) => ({
  json: fc.oneof(
    { maxDepth: 4 },
    fc.oneof(written, fc.constantFrom(...numbers.split(' '), 'true', 'false', 'null')),
    fc.array(fc.tuple(space, tie('json'), space), { maxLength: 4 }).map(join('[', ']')),
    fc
      .array(fc.tuple(space, written, space, fc.constant(':'), space, tie('json')), {
        maxLength: 6,
      })
      .map(join('{', '}')),
    fc.tuple(tie('json'), fc.integer({ min: 2, max: 4 })).map(([each, times]) => {
      const items = Array<string>(times).fill(each)
      return `[${items.join()}]`
    }),
  ),
}))

await t.test('the scanner decides as a simple reading of the text does', async (t) => {
  const many = Array.from({ length: 40 }, (_, at) => `"k${at}":{"a":${at}}`)
  const sets: JsonLimits[] = [
    LIMITS,
    { ...LIMITS, maxDepth: 3, maxKeys: 5, maxArrayLength: 3, maxStringBytes: 128 },
    { ...LIMITS, refuseOperators: true, refuseInexactNumbers: false },
  ]
  const scanners = sets.map((limits) => [limits, new JsonScanner(limits)] as const)
  const seen = new Map<string | null, number>()
  // Longer texts are scanned in stretches.
  const before = fc.constantFrom('', '', `"${'x'.repeat(8180)}",`, `{${many.join()}},`)
  fc.assert(
    fc.property(before, fc.nat(24), json, (start, more, value) => {
      const text = start === '' ? value : `[${start}"${'y'.repeat(more)}",${value}]`
      JSON.parse(text)
      // Bytes of others around it, as in a pooled buffer.
      const bytes = Buffer.from(`"":${text}"a":"b"`).subarray(3, -7)
      for (const [limits, scanner] of scanners) {
        const found = scanner.scan(bytes)
        seen.set(found, (seen.get(found) ?? 0) + 1)
        if (found !== judgeJson(text, limits)) return false
      }
      return true
    }),
    { numRuns: runs(1500, 200_000) },
  )
  t.comment(JSON.stringify([...seen]))
  t.equal(seen.size, 11, 'every verdict was seen')
})

await t.test('names of the prototype chain are found where they are dangerous', async (t) => {
  const found = [
    '{"__proto__":{}}',
    String.raw`{"__pro\u0074o__":1}`,
    '{"a":[{"constructor":{"prototype":{}}}]}',
    '{"constructor":1,"b":{"prototype":1}}',
  ]
  for (const text of found) t.equal(scan(text), 'prototype_key', text)
  t.equal(scan('{"prototype":"v1"}'), null)
  t.equal(scan('{"a":{"$ne":null}}', { refuseOperators: true }), 'operator_key')
  t.equal(scan('{"a":{"$ne":null}}'), null)
})

await t.test('NUL and halves of surrogate pairs are found in strings and keys', async (t) => {
  const far = 'x'.repeat(100)
  for (const text of [
    String.raw`"\u0000"`,
    String.raw`{"\u0000":1}`,
    String.raw`["${far}\u0000"]`,
  ]) {
    t.equal(scan(text), 'nul', text.slice(0, 20))
  }
  const halves = [
    String.raw`"\ud800"`,
    String.raw`"\udc00"`,
    String.raw`"\ud800\ud800"`,
    String.raw`"\ud800x"`,
    String.raw`"${far}\uDBFF\u0041"`,
    String.raw`"\ud83d\n"`,
  ]
  for (const text of halves) t.equal(scan(text), 'lone_surrogate', text.slice(0, 20))
  for (const text of [
    String.raw`"\ud83d\ude00"`,
    String.raw`"\\u0000"`,
    String.raw`"\\ud800"`,
    '"😀"',
    String.raw`"${far}\\${far}"`,
  ]) {
    t.equal(scan(text), null, text.slice(0, 20))
  }
})

await t.test('depth, keys, items and strings are limited', async (t) => {
  t.equal(scan('['.repeat(32) + ']'.repeat(32)), null)
  t.equal(scan('['.repeat(33)), 'depth')
  t.equal(scan('{"a":'.repeat(33)), 'depth')
  t.equal(scan('{"a":1,"b":{"c":1}}', { maxKeys: 3 }), null)
  t.equal(scan('{"a":1,"b":{"c":1}}', { maxKeys: 2 }), 'key_count')
  t.equal(scan('[{"a":1},{"a":1},{"a":1}]', { maxKeys: 2 }), 'key_count', 'known shapes count, too')
  t.equal(scan('[[1,2],[1,2,3]]', { maxArrayLength: 3 }), null)
  t.equal(scan('[[1,2],[1,2,3,4]]', { maxArrayLength: 3 }), 'array_length')
  t.equal(scan('{"a":[1,2],"b":1,"c":1,"d":1}', { maxArrayLength: 2 }), null)
  t.equal(scan('["1234"]', { maxStringBytes: 4 }), null)
  t.equal(scan('["12345"]', { maxStringBytes: 4 }), 'string_bytes')
  t.equal(scan('{"12345":1}', { maxStringBytes: 4 }), 'string_bytes')
})

await t.test('a text that is no JSON ends the scan, whatever it is', async (t) => {
  const scanner = new JsonScanner(LIMITS)
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
      scanner.scan(Buffer.from(bytes))
      return true
    }),
    { numRuns: 2000 },
  )
  const parts = fc.array(
    fc.constantFrom('{', '}', '[', ']', '"', '\\', ':', ',', 'u', '\\u', '\\ud800', 'a', ' ', '1'),
  )
  fc.assert(
    fc.property(parts, (each) => {
      scanner.scan(Buffer.from(each.join('')))
      return true
    }),
    { numRuns: 5000 },
  )
  for (const text of [
    '',
    '"',
    '"\\',
    '"\\u',
    '"\\u00',
    '{"a":',
    ']]]}',
    '"a":"b"',
    '["a":1]',
    '{"\\x":1}',
  ])
    t.equal(scan(text), null)
})

await t.test('more shapes than are kept, and hostile texts, take linear time', async (t) => {
  const scanner = new JsonScanner({ ...LIMITS, maxKeys: 1e6 })
  const objects = Array.from({ length: 5000 }, (_, i) => ({ [`k${i}`]: { [`x${i}`]: 1, y: 2 } }))
  t.equal(scanner.scan(Buffer.from(JSON.stringify(objects))), null)
  t.equal(scanner.scan(Buffer.from('{"a":1,"a":2}')), 'duplicate_key')
  const attacks = {
    escapes: `"${'\\n'.repeat(50_000)}"`,
    quotes: `"${'\\"'.repeat(50_000)}"`,
    'escapes far apart': `"${`\\n${'x'.repeat(60)}`.repeat(1_600)}"`,
    'an open string': `"${'x'.repeat(100_000)}`,
    keys: `{${Array.from({ length: 9_000 }, (_, i) => `"${i}":0`).join()}}`,
    'white space': `{"a"${' '.repeat(100_000)}:1}`,
    depth: '[]'.repeat(50_000),
  }
  for (const [name, text] of Object.entries(attacks)) {
    const bytes = Buffer.from(text)
    scanner.scan(bytes)
    const start = process.cpuUsage()
    scanner.scan(bytes)
    const { user, system } = process.cpuUsage(start)
    t.comment(`${name}: ${(user + system) / 1000} ms`)
    t.ok(user + system < 100_000, name)
  }
})

await t.test('a refused body has a code, and the handler does not run', async (t) => {
  const { app, events } = await build(t)
  let handled = 0
  app.post('/', () => ++handled)
  const refused: [string | Buffer, string][] = [
    ['{"a":1,"a":2}', 'duplicate_key'],
    ['{"__proto__":1}', 'prototype_key'],
    [Buffer.from([0x22, 0xff, 0x22]), 'utf_8'],
    [Buffer.from([0x22, 0xed, 0xa0, 0x80, 0x22]), 'utf_8'],
    ['['.repeat(100_000), 'depth'],
  ]
  for (const [body, reason] of refused) {
    const reply = await post(app, '/', body)
    t.match(
      [reply.statusCode, reply.json()],
      [400, { code: 'PARAPET_INPUT_GUARD_BODY_REFUSED' }],
      reason,
    )
  }
  t.same(
    events.map(({ type, details }) => [type, (details as { code: string }).code]),
    refused
      .map(([, reason]) => ['input_guard.rejected', reason])
      .filter(([, code], index) => index !== 3 || code !== 'utf_8'),
    'repetitions are one event',
  )
  t.match((await post(app, '/', '')).json(), { code: 'FST_ERR_CTP_EMPTY_JSON_BODY' })
  t.match((await post(app, '/', '{')).json(), { code: 'FST_ERR_CTP_INVALID_JSON_BODY' })
  t.equal(handled, 0)
  const mark = await post(app, '/', Buffer.from('\ufeff{"a":1}'))
  t.match([mark.statusCode, handled], [200, 1])
})

await t.test('jsonGuard covers plugins that are registered before inputGuard', async (t) => {
  const app = Fastify()
  t.after(() => app.close())
  await app.register(jsonGuard, { maxDepth: 2 })
  await app.register(async (child) => {
    child.post('/early', ({ body }) => body)
  })
  await app.register(async (child) => {
    child.removeContentTypeParser('application/json')
    child.addContentTypeParser('application/json', { parseAs: 'string' }, (_request, body, done) =>
      done(null, { own: body }),
    )
    child.post('/own', ({ body }) => body)
  })
  t.equal((await post(app, '/early', '{"a":1,"a":1}')).statusCode, 400)
  t.same((await post(app, '/early', '{"a":{}}')).json(), { a: {} })
  t.same(
    (await post(app, '/own', '{"a":1,"a":1}')).json(),
    { own: '{"a":1,"a":1}' },
    'a parser of its own is kept',
  )
})

await t.test('an app without a JSON parser gets none', async (t) => {
  const app = Fastify()
  t.after(() => app.close())
  app.removeAllContentTypeParsers()
  await app.register(jsonGuard)
  app.post('/', ({ body }) => body)
  t.equal((await post(app, '/', '{}')).statusCode, 415)
})

const proxyParser = (_request: unknown, _payload: unknown, done: (error: null) => void) =>
  done(null)

await t.test('neighbours add parsers of their own after the guard', async (t) => {
  for (const guard of [inputGuard, jsonGuard] as const) {
    const app = Fastify()
    t.after(() => app.close())
    await app.register(guard as typeof jsonGuard)
    // As @fastify/http-proxy does.
    await app.register(async (child) => {
      child.addContentTypeParser('application/json', proxyParser)
      child.addContentTypeParser('*', proxyParser)
      child.post('/proxy', ({ body }) => ({ has: body !== undefined }))
    })
    await app.register(async (child) => {
      child.addContentTypeParser('application/json', { parseAs: 'buffer' }, (_r, body, done) =>
        done(null, { raw: Buffer.isBuffer(body) }),
      )
      child.post('/webhook', ({ body }) => body)
    })
    await app.register(async (child) => {
      child.removeContentTypeParser('application/json')
      child.post('/none', ({ body }) => body)
    })
    app.post('/guarded', ({ body }) => body)
    const twice = '{"a":1,"a":2}'
    t.same((await post(app, '/proxy', twice)).json(), { has: false })
    t.same((await post(app, '/webhook', twice)).json(), { raw: true })
    t.equal((await post(app, '/none', twice)).statusCode, 415)
    t.match((await post(app, '/guarded', twice)).json(), {
      code: 'PARAPET_INPUT_GUARD_BODY_REFUSED',
    })
  }
})

await t.test('a parser of the app is kept, before and after the guard', async (t) => {
  for (const isFirst of [true, false]) {
    const lines: string[] = []
    const stream = { write: (line: string) => void lines.push(line) }
    const app = Fastify({ logger: { stream } })
    t.after(() => app.close())
    const add = () =>
      app.addContentTypeParser('application/json', { parseAs: 'string' }, (_r, body, done) =>
        done(null, { own: body }),
      )
    if (isFirst) add()
    await app.register(inputGuard, { audit: 'off' })
    if (!isFirst) add()
    t.throws(
      add,
      { code: 'FST_ERR_CTP_ALREADY_PRESENT' },
      'a second one is an error, as in Fastify',
    )
    app.post('/', ({ body }) => body)
    t.same((await post(app, '/', '{}')).json(), { own: '{}' })
    t.equal(/keeps the parser of application\/json/.test(lines.join('')), isFirst)
  }
})

await t.test('the options of the last registration hold for its context', async (t) => {
  const deep = { a: { b: { c: 1 } } }
  const results: Record<string, number[]> = {}
  for (const [name, options] of [
    ['kept', {}],
    ['replaced', { json: { maxDepth: 2 } }],
  ] as const) {
    const app = Fastify()
    t.after(() => app.close())
    await app.register(jsonGuard, { maxDepth: 5 })
    await app.register(inputGuard, { audit: 'off', ...options })
    await app.register(jsonGuard)
    app.post('/', ({ body }) => body)
    await app.register(async (child) => {
      await child.register(jsonGuard, { maxDepth: 1 })
      child.post('/child', ({ body }) => body)
    })
    const send = async (url: string, body: unknown) => (await post(app, url, body)).statusCode
    results[name] = [
      await send('/', deep),
      await send('/', '['.repeat(6) + ']'.repeat(6)),
      await send('/child', { a: 1 }),
      await send('/child', { a: {} }),
    ]
  }
  t.same(results, { kept: [200, 400, 200, 400], replaced: [400, 400, 200, 400] })
})

await t.test('further JSON types are parsed by the guarded parser', async (t) => {
  const { app } = await build(t)
  const type = 'application/vnd.api+json'
  app.addContentTypeParser(type, { parseAs: 'buffer' }, app.inputGuard.parseJson)
  app.post('/', ({ body }) => body)
  const send = (body: string) => post(app, '/', body, { 'content-type': type })
  t.match((await send('{"a":1,"a":2}')).json(), { code: 'PARAPET_INPUT_GUARD_BODY_REFUSED' })
  t.same((await send('{"a":1}')).json(), { a: 1 })
})

await t.test('numbers that JSON.parse would change are refused', async (t) => {
  const bad = [
    '9007199254740992',
    '9007199254740993',
    '-9007199254740993',
    '10000000000000000000000',
    '1e400',
    '-1E+400',
    '1.5e309',
    '9'.repeat(400),
    `${'9'.repeat(400)}.5`,
  ]
  const good = [
    '9007199254740991',
    '-9007199254740991',
    '0',
    '-0',
    '1e308',
    '1e-400',
    '0.1234567890123456789012',
    '123456789.12345678901234567890',
    '1.7976931348623157e308',
    '999999999999999',
  ]
  for (const number of bad) {
    for (const text of [number, `[${number}]`, `{"a":${number}}`, `{"a": ${number} , "b":1}`]) {
      t.equal(scan(text), 'inexact_number', text.slice(0, 60))
      t.equal(scan(text, { refuseInexactNumbers: false }), null)
    }
  }
  for (const number of good) t.equal(scan(`{"a":[${number},${number}]}`), null, number)
  t.equal(scan('{"9007199254740993":"9007199254740993"}'), null, 'texts may be as long as they are')
  fc.assert(
    fc.property(fc.bigInt({ min: -(2n ** 70n), max: 2n ** 70n }), (integer) => {
      const isSafe = Number.isSafeInteger(Number(integer))
      return (scan(`[${integer}]`) === null) === isSafe
    }),
  )
  fc.assert(
    fc.property(fc.double({ noNaN: true, noDefaultInfinity: true }), (number) => {
      const text = JSON.stringify({ number, next: [number] })
      const isExact = /[.e]/.test(String(number)) || Number.isSafeInteger(number)
      return (scan(text) === null) === isExact
    }),
  )
  const { app } = await build(t)
  app.post('/', async ({ body }) => body)
  const sent = await post(app, '/', '{"id":9007199254740993}')
  t.equal(sent.statusCode, 400)
  t.match(sent.json(), {
    code: 'PARAPET_INPUT_GUARD_BODY_REFUSED',
    detail: /integer beyond 2\^53/,
  })
  const open = await build(t, { json: { refuseInexactNumbers: false } })
  open.app.post('/', async ({ body }) => body)
  t.equal((await post(open.app, '/', '{"id":9007199254740993}')).statusCode, 200)
})

const own = (_request: unknown, _body: Buffer, done: (error: null, value: unknown) => void) =>
  done(null, {})

await t.test('a JSON parser of the app that does not scan is named by the audit', async (t) => {
  const parse = { parseAs: 'buffer' } as const
  const body = { type: 'null' }
  const start = async (type: string | RegExp, isGuarded: boolean, unguarded?: string) => {
    const app = Fastify()
    t.after(() => app.close())
    await app.register(inputGuard, {
      audit: 'error',
      ...(unguarded === undefined
        ? undefined
        : { unguarded: { [unguarded]: 'signed by its sender' } }),
    })
    await app.register(async (child) => {
      child.addContentTypeParser(type, parse, isGuarded ? app.inputGuard.parseJson : own)
      child.post('/hook', { schema: { body } }, async () => 'ok')
      child.get('/read', async () => 'ok')
    })
    app.post('/other', { schema: { body } }, async () => 'ok')
    await app.ready()
    return app.inputGuard.audit()
  }
  const plus = /^application\/[\w.-]+\+json$/
  for (const type of ['application/vnd.api+json', 'text/json', plus]) {
    await t.rejects(start(type, false), {
      code: 'PARAPET_INPUT_GUARD_UNBOUNDED_ROUTES',
      message: `  POST /hook body: ${String(type)} has a parser that does not scan; use app.inputGuard.parseJson`,
    })
    t.same(await start(type, true), [])
    t.same(await start(type, false, 'POST /hook'), [])
  }
  for (const type of ['text/xml', '*', /.*/, /^image\//])
    t.same(await start(type, false), [], String(type))
})
