/** Ordinary traffic of eight hours: visitors, members, an office, travellers, partners, analysts, a crawler. */
import type { Random } from './random.ts'

/** One request or login, of a client. `attack` names who is behind it, if it is an attacker. */
export interface Step {
  readonly at: number
  readonly kind: 'page' | 'resource' | 'export' | 'login-failed' | 'login-succeeded' | 'unmatched'
  readonly address: string
  readonly userAgent: string
  readonly country: string
  readonly principalId?: string | undefined
  readonly sessionId?: string | undefined
  readonly account?: string
  readonly secret?: string
  readonly route?: string
  readonly resource?: string
  readonly bytes?: number
  readonly attack?: string
}

/** A client at one moment. */
export type Client = Pick<Step, 'address' | 'userAgent' | 'country' | 'principalId' | 'sessionId'>

const HOURS = 8
export const DAY_MS = HOURS * 3_600_000
const MINUTE = 60_000

const AGENTS = ['Firefox/140', 'Chrome/139', 'Safari/18', 'Edge/139', 'Mobile/18', 'Chrome/138']
const ROUTES = ['GET /items/:id', 'GET /orders/:id', 'GET /articles/:id']

/** Adds steps. */
export type Sink = (step: Step) => void

/** All ordinary traffic. */
export function playOrdinaryDay(random: Random, add: Sink): void {
  let host = 0
  const nextAddress = (): string => {
    host++
    return `10.${(host >> 16) & 255}.${(host >> 8) & 255}.${host & 255}`
  }
  const newClient = (member?: string): Client => ({
    address: nextAddress(),
    userAgent: random.pick(AGENTS),
    country: random.pick(['DE', 'FR', 'PL', 'US']),
    ...(member === undefined ? undefined : { principalId: member, sessionId: `s-${member}` }),
  })
  const start = () => random.between(0, DAY_MS - 40 * MINUTE)
  for (let visitor = 0; visitor < 260; visitor++) browse(random, newClient(), start(), add)
  for (let member = 0; member < 120; member++) {
    visit(random, newClient(`member-${member}`), start(), add)
  }
  playOffice(random, nextAddress(), add)
  for (let traveller = 0; traveller < 20; traveller++) {
    travel(random, newClient(`traveller-${traveller}`), nextAddress(), start(), add)
  }
  for (let partner = 0; partner < 2; partner++)
    synchronise(random, newClient(`api-${partner}`), add)
  for (let analyst = 0; analyst < 4; analyst++)
    analyse(random, newClient(`analyst-${analyst}`), add)
  crawl(random, { ...newClient(), userAgent: 'FriendlyBot/1.0' }, add)
}

/** Pages with a think time between them; each page loads a few more things at once. */
function browse(random: Random, client: Client, begin: number, add: Sink): void {
  let at = begin
  const pages = random.integer(3, 25)
  for (let page = 0; page < pages; page++) {
    add({ ...client, at, kind: 'page', route: 'GET /', bytes: random.integer(4000, 90_000) })
    const parts = random.integer(2, 8)
    for (let part = 0; part < parts; part++) {
      const route = random.pick(ROUTES)
      const resource = `${random.integer(1, 4000)}`
      const soon = at + random.between(20, 400)
      add({
        ...client,
        at: soon,
        kind: 'resource',
        route,
        resource,
        bytes: random.integer(300, 30_000),
      })
    }
    if (random.chance(0.02)) {
      add({ ...client, at: at + 500, kind: 'unmatched', resource: `/old/${random.integer(1, 50)}` })
    }
    at += random.between(2000, 45_000)
  }
}

/** A login with the typing errors of people, and a visit. */
function visit(random: Random, client: Client, begin: number, add: Sink): void {
  const { address, userAgent, country, principalId: account = '' } = client
  const anonymous = { address, userAgent, country }
  let at = begin
  const errors = random.chance(0.02) ? random.integer(3, 4) : random.chance(0.15) ? 1 : 0
  for (let error = 0; error < errors; error++) {
    // The same few passwords that a person has.
    const secret = `own-${account}-${random.integer(1, 3)}`
    add({ ...anonymous, at, kind: 'login-failed', account, secret, route: 'POST /login' })
    at += random.between(3000, 20_000)
  }
  add({ ...client, at, kind: 'login-succeeded', account, route: 'POST /login' })
  browse(random, client, at + 1000, add)
  if (random.chance(0.2)) {
    const exports = random.integer(1, 3)
    for (let each = 0; each < exports; each++) {
      at += random.between(20_000, 120_000)
      add({ ...client, at, kind: 'export', route: 'GET /export', bytes: 400_000 })
    }
  }
}

/** 14 people behind one address, who begin to work within an hour and a half. */
function playOffice(random: Random, address: string, add: Sink): void {
  for (let person = 0; person < 14; person++) {
    const client = {
      address,
      userAgent: random.pick(AGENTS.slice(0, 2)),
      country: 'DE',
      principalId: `office-${person}`,
      sessionId: `s-office-${person}`,
    }
    visit(random, client, random.between(0, 90 * MINUTE), add)
    for (let more = 0; more < 4; more++) {
      browse(random, client, random.between(2, HOURS - 0.6) * 3_600_000, add)
    }
  }
}

/** A phone that leaves the Wi-Fi in the middle of a visit. */
function travel(random: Random, client: Client, elsewhere: string, begin: number, add: Sink): void {
  visit(random, client, begin, add)
  browse(random, { ...client, address: elsewhere }, begin + 12 * MINUTE, add)
}

/** A partner that reads what has changed: steady, all day, often the same. */
function synchronise(random: Random, client: Client, add: Sink): void {
  for (let at = 0; at < DAY_MS; at += random.between(2000, 6000)) {
    const resource = `${random.integer(1, 60)}`
    add({ ...client, at, kind: 'resource', route: 'GET /orders/:id', resource, bytes: 900 })
  }
}

/** Some exports, at most six at a time and ten a day. */
function analyse(random: Random, client: Client, add: Sink): void {
  let left = 10
  for (let batch = 0; batch < 3 && left > 0; batch++) {
    let at = random.between(0, DAY_MS - 30 * MINUTE)
    const size = Math.min(left, random.integer(2, 6))
    left -= size
    for (let each = 0; each < size; each++) {
      add({ ...client, at, kind: 'export', route: 'GET /export', bytes: 2_000_000 })
      at += random.between(15_000, 90_000)
    }
  }
}

/** A search engine that keeps to a polite pace. */
function crawl(random: Random, client: Client, add: Sink): void {
  for (let at = 0; at < DAY_MS; at += random.between(4000, 9000)) {
    const resource = `${random.integer(1, 4000)}`
    add({ ...client, at, kind: 'resource', route: 'GET /articles/:id', resource, bytes: 20_000 })
  }
}
