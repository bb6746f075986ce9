/**
 * What the inspection finds of the corpora, what it costs for a request of 1 kB, beside libddwaf, and what
 * hostile values of 100 kB cost. The corpora are those of the tests (`PARAPET_VECTORS`).
 */
import appsec from '@datadog/native-appsec'
import { goal, pairedBench } from '@parapet/testing'
import { existsSync, readFileSync } from 'node:fs'
import { gunzipSync } from 'node:zlib'
import { createInspector } from '../src/inspect/inspector.ts'
import {
  bodyOf,
  rawOf,
  requestOf,
  stageOf,
  type Labelled,
  type Payload,
  type Stage,
} from '../test/corpus.ts'

const inspector = createInspector()
const given = process.env['PARAPET_VECTORS']
const folder =
  given === undefined
    ? new URL('../../../../shared/vectors/', import.meta.url)
    : new URL(`file://${given}/`)
const read = <T>(name: string): T[] =>
  gunzipSync(readFileSync(new URL(`waf/${name}.jsonl.gz`, folder)))
    .toString()
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as T)

if (existsSync(folder)) reportRates()
else console.log('no corpora: set PARAPET_VECTORS to their folder')
await reportCost()
reportHostile()

/** Prints how much of each class is found. */
function reportRates(): void {
  const injections = read<Payload>('libinjection')
  const others = read<Payload>('gotestwaf')
  const stages = read<Stage>('crs-regression').filter(
    ({ l, grp }) => l === 1 && /^REQUEST-9(?:2[12]|3|4[1-4])/.test(grp),
  )
  for (const [where, form] of [
    ['as a query', requestOf],
    ['raw in the query', rawOf],
    ['in a JSON body', bodyOf],
  ] as const) {
    const known = [...injections, ...others].filter(
      ({ c }) => form === requestOf || c !== 'community-user-agent',
    )
    const { attacks, harmless, worst } = rate(
      `corpora ${where}`,
      known.map((payload) => form(payload)),
    )
    const name = where.replaceAll(' ', '-')
    goal(`anomaly-waf-attacks-percent-${name}`, attacks, 99, 'at-least')
    goal(`anomaly-waf-worst-class-percent-${name}`, worst, 97, 'at-least')
    goal(`anomaly-waf-harmless-percent-${name}`, harmless, 0.3)
  }
  const { attacks } = rate('core rule set', stages.map(stageOf))
  goal('anomaly-waf-core-rule-set-percent', attacks, 60, 'at-least')
}

function percent({ found, all }: { readonly found: number; readonly all: number }): number {
  return (100 * found) / all
}

function rate(title: string, requests: readonly Labelled[]) {
  const groups = new Map<string, { attack: boolean; all: number; found: number }>()
  for (const { attack, group, parts } of requests) {
    const counts = groups.get(group) ?? { attack, all: 0, found: 0 }
    groups.set(group, counts)
    counts.all += 1
    if (inspector.inspect(parts).attack) counts.found += 1
  }
  const sum = (attack: boolean) =>
    [...groups.values()]
      .filter((each) => each.attack === attack)
      .reduce((total, each) => ({ all: total.all + each.all, found: total.found + each.found }), {
        all: 0,
        found: 0,
      })
  console.log(`\n${title}`)
  for (const [group, counts] of [...groups].toSorted(([a], [b]) => (a < b ? -1 : 1))) {
    console.log(
      `  ${counts.attack ? 'attack  ' : 'harmless'} ${group.padEnd(45)} ${String(counts.all).padStart(6)} ${percent(counts).toFixed(2).padStart(7)} %`,
    )
  }
  const worst = Math.min(...[...groups.values()].filter(({ attack }) => attack).map(percent))
  return { attacks: percent(sum(true)), harmless: percent(sum(false)), worst }
}

/** A request for an order, with a body of 1 kB and the headers of a browser. */
async function reportCost(): Promise<void> {
  const body = {
    id: '5f9c1b2e-1c2d-4e5f-8a9b-0c1d2e3f4a5b',
    name: "Siobhan O'Brien",
    email: 'siobhan.obrien@example.com',
    address: {
      street: '12 Union Street, Flat 4',
      city: 'Dublin 2',
      country: 'IE',
      phone: '+353 (1) 555-0100',
    },
    items: [
      {
        sku: 'LAMP-1950-BLUE',
        title: 'Vintage table lamp, 14" (1950\'s)',
        quantity: 2,
        price: 49.9,
      },
      { sku: 'CASE-4', title: 'Case for tablet & keyboard', quantity: 1, price: 19 },
    ],
    note: 'Please select the blue one from the list if it is in stock, and leave it at the door or with the neighbour at number 14. Thanks!',
    newsletter: true,
    tags: ['gift', 'fragile', 'express'],
    terms:
      'Hand-made in a small workshop; each piece is unique. The shade is 100% cotton and the base is solid oak. Delivery takes between 3 and 5 days. You can return it within 30 days, no questions asked - see our terms at https://shop.example/terms?lang=en#returns for details. The lamp comes with a bulb; please keep the box, and call us if anything is broken.',
  }
  const headers = {
    host: 'shop.example',
    'user-agent':
      'Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0.0.0 Safari/537.36',
    accept: 'application/json, text/plain, */*',
    'accept-language': 'en-US,en;q=0.9',
    'content-type': 'application/json',
    referer: 'https://shop.example/cart?step=2',
    cookie: 'session=abcDEF123456.abcdef; theme=dark',
  }
  const request = { url: '/api/v1/orders?source=web&campaign=spring', headers, body }
  const waf = new appsec.DDWAF(rules(), 'rules')
  const beside = () => {
    const context = waf.createContext()
    const { cookie, ...rest } = headers
    const result = context.run(
      {
        persistent: {
          'server.request.uri.raw': request.url,
          'server.request.query': { source: 'web', campaign: 'spring' },
          'server.request.headers.no_cookies': rest,
          'server.request.cookies': { cookie },
          'server.request.body': body,
        },
      },
      1_000_000,
    )
    context.dispose()
    return result
  }
  const result = await pairedBench({
    time: 'cpu',
    cases: {
      [`inspect a body of ${JSON.stringify(body).length} bytes`]: () => inspector.inspect(request),
      'inspect the body alone': () => inspector.inspect({ body }),
      'inspect a GET': () => inspector.inspect({ url: request.url, headers }),
      '@datadog/native-appsec, two of its rules': beside,
    },
  })
  console.log(`\n${result.table}`)
  const [whole] = Object.values(result.cases)
  goal('anomaly-inspect-1kb-us', whole!.min / 1000, 30)
  waf.dispose()
}

/** The two built-in detectors of libddwaf; the rules that it is used with are about 160 more. */
function rules(): object {
  const inputs = [
    'server.request.uri.raw',
    'server.request.query',
    'server.request.headers.no_cookies',
    'server.request.body',
  ].map((address) => ({ address }))
  const rule = (id: string, operator: string) => ({
    id,
    name: id,
    tags: { type: id, category: 'attack_attempt' },
    conditions: [{ parameters: { inputs }, operator }],
    transformers: ['removeNulls', 'urlDecodeUni'],
  })
  return { version: '2.2', rules: [rule('sql', 'is_sqli'), rule('xss', 'is_xss')] }
}

/** Values that are made to be slow, each of 100 kB. */
function reportHostile(): void {
  const size = 100_000
  const seeds = [
    'a',
    "'",
    '<a ',
    'or ',
    'select ',
    '${',
    '../',
    '%',
    '%2525252525',
    '&lt;',
    '\\',
    '\\u0041',
    '/*',
    ' \n',
    '+',
    'javascript',
    'cat ',
    ';cat',
    '`',
    "a'b'",
    '＜',
    'case when ',
    'update a set ',
    'insert into a (',
    'if(a=b,',
    '<svg ',
    '[]+',
    '%c0%ae',
    '~',
    '\0',
    '"a":"b",',
    "1 or '",
    'for /f ',
  ]
  const measured = seeds.flatMap((seed) => {
    const value = seed.repeat(Math.ceil(size / seed.length)).slice(0, size)
    const url = `/?q=${encodeURIComponent(value)}`.slice(0, size)
    return [{ url }, { url: '/', body: { value } }].map((request, form) => {
      const times = Array.from({ length: 5 }, () => {
        const start = performance.now()
        inspector.inspect(request)
        return performance.now() - start
      })
      return {
        name: `${form === 0 ? 'query' : 'body'} of ${JSON.stringify(seed)}`,
        ms: Math.min(...times),
      }
    })
  })
  const slowest = measured.toSorted((a, b) => b.ms - a.ms)
  for (const { name, ms } of slowest.slice(0, 8)) console.log(`  ${ms.toFixed(2)} ms ${name}`)
  goal('anomaly-inspect-hostile-100kb-ms', slowest[0]!.ms, 5)
}
