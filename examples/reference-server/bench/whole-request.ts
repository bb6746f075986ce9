/**
 * The cost of a whole request: one route with response headers, CORS, a limit, a verified token, a role and
 * a durable audit record, on bare Fastify, on the usual libraries, on this family, and with every plugin of
 * it; and a page of rows with an encrypted column. Each server runs in its own process; they take turns, and only
 * measurements of one round are compared. `BENCH_SMOKE=1` only shows that it runs.
 */
import { randomBytes } from 'node:crypto'
import { goal, sendLoad, startMeasured, type MeasuredServer } from '@parapet/testing'
import { Pool } from 'pg'

const isSmoke = process.env['BENCH_SMOKE'] === '1'
const GENERATIONS = isSmoke ? 1 : 2
const ROUNDS = isSmoke ? 1 : 5
const REQUESTS = isSmoke ? 200 : 4000
const CONNECTIONS = 32
const ADMIN_URL = process.env['DATABASE_URL'] ?? 'postgres://postgres@127.0.0.1:5432/test'

const orders = [
  'bare',
  'helmet',
  'security-headers',
  'rbac',
  'audit-log',
  'jwt',
  'jwt-cache',
  'sessions',
  'usual',
  'usual-jwt-cache',
  'family-first-token',
  'family',
  'everything',
] as const
const lists = ['bare-artists', 'artists'] as const
type Variant = (typeof orders)[number] | (typeof lists)[number]
const variants: readonly Variant[] = [...orders, ...lists]

interface Round {
  readonly perSecond: number
  readonly cpuMicros: number
  readonly half: number
  readonly most: number
}

/** Their records are still sequenced after the replies: that is part of their cost. */
const records = new Set<Variant>(['audit-log', 'family-first-token', 'family', 'everything'])
const measured = new Map<Variant, Round[]>(variants.map((variant) => [variant, []]))
const admin = new Pool({ connectionString: ADMIN_URL, max: 1 })
for (let generation = 0; generation < GENERATIONS; generation++) await measureGeneration()
await admin.end()
report()

async function measureGeneration(): Promise<void> {
  const servers = new Map<Variant, MeasuredServer>()
  const schemas: string[] = []
  try {
    for (const variant of variants) {
      // Both servers of the page read the same rows; every audit log has its own key.
      if (variant !== 'artists') schemas.push(await createSchema())
      const args = [variant, urlOf(schemas.at(-1)!)]
      servers.set(variant, await startMeasured(new URL('servers/serve.ts', import.meta.url), args))
    }
    for (const variant of variants) await load(servers.get(variant)!, variant, REQUESTS)
    for (let round = 0; round < ROUNDS; round++) {
      for (let turn = 0; turn < variants.length; turn++) {
        const variant = variants[(round + turn) % variants.length]!
        measured.get(variant)!.push(await measure(servers.get(variant)!, variant))
      }
    }
  } finally {
    for (const server of servers.values()) await server.stop()
    for (const schema of schemas) await admin.query(`DROP SCHEMA ${schema} CASCADE`)
  }
}

async function createSchema(): Promise<string> {
  const schema = `bench_${randomBytes(6).toString('hex')}`
  await admin.query(`CREATE SCHEMA ${schema}`)
  return schema
}

function urlOf(schema: string): string {
  const url = new URL(ADMIN_URL)
  url.searchParams.set('options', `-c search_path=${schema}`)
  return url.href
}

function requestFor(variant: Variant, token: string): string | ((index: number) => string) {
  const path = variant === 'artists' ? '/api/v1/artists?limit=20' : '/'
  const authorization = token === '' ? '' : `Authorization: Bearer ${token}\r\n`
  const head = `GET ${path} HTTP/1.1\r\nHost: localhost:3000\r\nUser-Agent: bench\r\nOrigin: https://app.example.com\r\n${authorization}`
  if (!variant.endsWith('artists')) return `${head}\r\n`
  // The reference server limits each client, so the requests come from many, through a proxy.
  return (index) => {
    const client = `10.${(index >> 8) % 200}.${index % 256}.1`
    return `${head}X-Forwarded-For: ${client}\r\n\r\n`
  }
}

function load({ port, told }: MeasuredServer, variant: Variant, count: number): Promise<number[]> {
  return sendLoad({ port, request: requestFor(variant, told), count, connections: CONNECTIONS })
}

async function measure(server: MeasuredServer, variant: Variant): Promise<Round> {
  const count = variant.endsWith('artists') ? REQUESTS * 0.375 : REQUESTS
  const before = await server.cpuMicros()
  const start = performance.now()
  const times = await load(server, variant, count)
  const seconds = (performance.now() - start) / 1000
  if (records.has(variant)) await new Promise((next) => setTimeout(next, 1500))
  const cpuMicros = ((await server.cpuMicros()) - before) / times.length
  times.sort((a, b) => a - b)
  const at = (share: number) => times[Math.floor((times.length - 1) * share)]!
  return { perSecond: times.length / seconds, cpuMicros, half: at(0.5), most: at(0.99) }
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[values.length >> 1]!
}

function medianOf(variant: Variant, what: keyof Round): number {
  return median(measured.get(variant)!.map((round) => round[what]))
}

/** The median over the rounds of `variant` divided by `base`. */
function ratio(variant: Variant, base: Variant, what: keyof Round): number {
  const bases = measured.get(base)!
  return median(measured.get(variant)!.map((round, index) => round[what] / bases[index]![what]))
}

function added(variant: Variant): number {
  const bases = measured.get('bare')!
  return median(
    measured.get(variant)!.map(({ cpuMicros }, index) => cpuMicros - bases[index]!.cpuMicros),
  )
}

function report(): void {
  console.log(`node ${process.version}, ${GENERATIONS * ROUNDS} rounds, ${CONNECTIONS} connections`)
  console.log('server              requests/s  CPU us  added us  p50 ms  p99 ms')
  for (const variant of variants) {
    const cells = [
      medianOf(variant, 'perSecond').toFixed(0).padStart(10),
      medianOf(variant, 'cpuMicros').toFixed(1).padStart(6),
      added(variant).toFixed(1).padStart(8),
      medianOf(variant, 'half').toFixed(1).padStart(6),
      medianOf(variant, 'most').toFixed(1).padStart(6),
    ]
    console.log(`${variant.padEnd(18)}  ${cells.join('  ')}`)
  }
  goal('durable-record-added-us', added('audit-log'), 60)
  goal('seen-token-added-us', added('sessions'), 15)
  goal('seen-token-to-jwt-cache', added('sessions') / added('jwt-cache'), 0.6)
  goal('family-to-usual', ratio('family', 'usual', 'perSecond'), 2, 'at-least')
  goal(
    'family-to-usual-jwt-cache',
    ratio('family', 'usual-jwt-cache', 'perSecond'),
    1.5,
    'at-least',
  )
  // All plugins do more than the usual libraries: contain attackers, inspect input, ask for factors.
  goal('everything-to-usual', ratio('everything', 'usual', 'perSecond'), 2, 'at-least')
  const cached = ratio('everything', 'usual-jwt-cache', 'perSecond')
  goal('everything-to-usual-jwt-cache', cached, 1.5, 'at-least')
  goal('artists-to-bare', ratio('artists', 'bare-artists', 'perSecond'), 0.5, 'at-least')
  goal('artists-p99-to-bare', ratio('artists', 'bare-artists', 'most'), 3)
}
