/** The cost of guarded fields, of the request guard and of the scanner, and the sanitizer beside others. */
import { goal, pairedBench } from '@parapet/testing'
import {
  connectionGuard,
  FutureDate,
  inputGuard,
  PersonName,
  SafeEmail,
  SafeText,
  Uuid,
} from '@parapet/input-guard'
import { Type } from '@sinclair/typebox'
import Fastify, { type FastifyInstance } from 'fastify'
import xss from 'xss'
import { JsonScanner } from '../src/json/scan-json.ts'
import { LibraryShelf } from '../src/libraries.ts'
import { compileHtml } from '../src/types/html.ts'
import { compileText } from '../src/types/text.ts'
import { createAjv } from '../src/validation/create-ajv.ts'
import { ValidationRun } from '../src/validation/run.ts'

const closed = { additionalProperties: false } as const
const run = new ValidationRun()
const libraries = new LibraryShelf()
const tools = { libraries, now: Date.now, htmlEngine: undefined, mailDomain: undefined }

/** The five fields with their checks, and the same fields with what JSON Schema can say of them. */
const guardedBody = Type.Object(
  {
    id: Uuid(),
    email: SafeEmail(),
    name: PersonName(),
    note: SafeText({ maxLength: 200 }),
    date: FutureDate(),
  },
  closed,
)
const plainBody = Type.Object(
  {
    id: Type.String({ format: 'uuid' }),
    email: Type.String({ format: 'email', maxLength: 254 }),
    name: Type.String({ minLength: 1, maxLength: 100 }),
    note: Type.String({ minLength: 1, maxLength: 200 }),
    date: Type.String({ format: 'date' }),
  },
  closed,
)
const value = () => ({
  id: '01a214b6-9333-73c2-af78-e149552e961f',
  email: 'ann.lee@example.com',
  name: "Sinéad O'Connor",
  note: 'Lorem ipsum dolor sit amet, consectetur adipiscing elit.',
  date: '2031-05-17',
})
const json = JSON.stringify(value())

async function createApp(schema: object): Promise<FastifyInstance> {
  const app = Fastify()
  await app.register(inputGuard, { audit: 'off' })
  app.post('/', { schema: { body: schema } }, async () => 'ok')
  await app.ready()
  return app
}

const post = (app: FastifyInstance, payload: string) => async () =>
  app.inject({ method: 'POST', url: '/', headers: { 'content-type': 'application/json' }, payload })

// Guarded fields: a whole request, and the validation by itself.
const [plain, guarded] = await Promise.all([createApp(plainBody), createApp(guardedBody)])
const ajv = createAjv({ tools, run, externals: {}, configure: undefined }, true)
const [plainCheck, guardedCheck] = [ajv.compile(plainBody), ajv.compile(guardedBody)]
const fields = await pairedBench({
  time: 'cpu',
  cases: {
    'a request, plain fields': post(plain, json),
    'a request, guarded fields': post(guarded, json),
    'validation, plain fields': () => plainCheck(value()),
    'validation, guarded fields': () => guardedCheck(value()),
  },
})
console.log(fields.table)
goal(
  'input-guard-fields-request',
  fields.ratio('a request, guarded fields', 'a request, plain fields').median,
  1.5,
)

goal(
  'input-guard-fields-validation',
  fields.ratio('validation, guarded fields', 'validation, plain fields').median,
  1.5,
)

// The request guard, both apps with the limits of connections: a body of 1 KB, and one of 1 MB beside JSON.parse.
const record = (i: number) => ({
  id: `01a214b6-9333-73c2-af78-${String(i).padStart(12, '0')}`,
  name: `Person Number ${i}`,
  email: `person${i}@example.com`,
  age: i % 90,
  active: i % 2 === 0,
  tags: ['red', 'green'],
  address: { street: 'Main Street 5', city: 'Springfield', zip: '12345' },
  note: 'Lorem ipsum dolor sit amet, consectetur adipiscing elit, sed do eiusmod tempor.',
})
const small = JSON.stringify([record(1), record(2), record(3)])
const [bare, open] = [Fastify(), Fastify()]
await bare.register(connectionGuard)
await open.register(inputGuard, { audit: 'off' })
for (const app of [bare, open]) {
  app.post('/', async () => 'ok')
  await app.ready()
}
const requests = await pairedBench({
  time: 'cpu',
  minMs: 250,
  rounds: 21,
  cases: {
    'a bare request of 1 KB': post(bare, small),
    'a guarded request of 1 KB': post(open, small),
  },
})
console.log(requests.table)
goal(
  'input-guard-request-1kb-to-bare',
  requests.ratio('a guarded request of 1 KB', 'a bare request of 1 KB').median,
  1.1,
)

const large = JSON.stringify(Array.from({ length: 3200 }, (_, i) => record(i)))
const bytes = Buffer.from(large)
const limits = {
  maxDepth: 32,
  maxKeys: 1e6,
  maxArrayLength: 1e6,
  maxStringBytes: 1e6,
  refuseOperators: false,
  refuseInexactNumbers: true,
}
const scanner = new JsonScanner(limits)
const scans = await pairedBench({
  time: 'cpu',
  cases: {
    'JSON.parse of 1 MB': () => JSON.parse(large) as unknown,
    'the scan of 1 MB': () => scanner.scan(bytes),
  },
})
console.log(scans.table)
goal(
  'input-guard-scan-1mb-to-parse',
  scans.ratio('the scan of 1 MB', 'JSON.parse of 1 MB').median,
  0.25,
)

// 100 KB of hostile input, the slowest of the units.
const hostile = ['{"a":', '"\\u0061', '[', '"x":', '\\', '"'].map((unit) =>
  Buffer.from(unit.repeat(100_000 / unit.length)),
)
const worst = await pairedBench({
  time: 'cpu',
  rounds: 5,
  cases: Object.fromEntries(hostile.map((text, i) => [`hostile ${i}`, () => scanner.scan(text)])),
})
goal(
  'input-guard-scan-hostile-100kb-ms',
  Math.max(...Object.values(worst.cases).map(({ median }) => median)) / 1e6,
  5,
)

// 100 KB of hostile markup, and the most that is allowed, in both modes; other types with their longest texts.
const report = { sanitized: () => {}, later: () => {} }
const marks = [
  '<b>x</b>',
  '<br>',
  '<a href="javascript:x" onclick="y">z</a>',
  '<b a b c>',
  '&',
  '<!--',
]
const allowed = [
  '<a href="https://a.com/?b=c" title="x y">z</a>'.repeat(200),
  '<a href="javascript:x" onclick="y">z</a>'.repeat(200),
  '<p>x</p>'.repeat(200),
].map((text) => text.concat('&eacute;'.repeat(500), 'word '.repeat(20_000)).slice(0, 100_000))
const texts = ['\ufdfa', '\ufb03', '\u0130', 'a\u0344\u0323', '\ud83d\ude00', 'a']
const goals = {
  'html-hostile': [
    marks.map((unit) => unit.repeat(100_000 / unit.length)),
    [compileHtml({}, tools), compileHtml({ onUnsafe: 'reject' }, tools)],
  ],
  'html-allowed': [allowed, [compileHtml({}, tools), compileHtml({ onUnsafe: 'reject' }, tools)]],
  text: [
    texts.map((unit) => unit.repeat(100_000 / unit.length)),
    [compileText({ maxLength: 100_000, multiline: true }, tools)],
  ],
  'text-nfkc': [
    texts.map((unit) => unit.repeat(10_000)),
    [compileText({ maxLength: 10_000, normalize: 'NFKC' }, tools)],
  ],
  'text-confusables': [
    texts.map((unit) => unit.repeat(5000)),
    [compileText({ maxLength: 5000, confusables: 'reject' }, tools)],
  ],
} as const
await libraries.ready()
for (const [name, [inputs, checks]] of Object.entries(goals)) {
  const cases = checks.flatMap((check, mode) =>
    inputs.map((text, at) => [`${mode} ${at}`, () => check(text, report)] as const),
  )
  const result = await pairedBench({
    time: 'cpu',
    rounds: 5,
    minMs: 20,
    cases: Object.fromEntries(cases),
  })
  const slowest = Math.max(...Object.values(result.cases).map(({ median }) => median))
  goal(`input-guard-${name}-100kb-ms`, slowest / 1e6, 5)
}

// The sanitizer beside others, on 2 KB of rich text.
const comment =
  '<p>Hello <b>bold</b> <a href="https://example.com/">link</a> text &amp; more <script>x</script></p>'.repeat(
    20,
  )
const check = compileHtml({}, tools)
const { default: purify } = (await import('isomorphic-dompurify')) as unknown as {
  default: { sanitize(html: string): string }
}
const html = await pairedBench({
  time: 'cpu',
  rounds: 5,
  cases: {
    xss: () => xss(comment),
    SafeHtml: () => check(comment, report),
    // It releases memory only when the event loop turns.
    'isomorphic-dompurify': async () => {
      await new Promise(setImmediate)
      return purify.sanitize(comment)
    },
  },
})
console.log(html.table)
goal('input-guard-html-to-dompurify', html.ratio('SafeHtml', 'isomorphic-dompurify').median, 0.5)
await Promise.all([plain, guarded, bare, open].map((app) => app.close()))
process.exit()
