/** The attacks. Each has a label that the guard should find, and says whether it is fast. */
import type { Label } from '@parapet/anomaly-guard'
import type { Random } from './random.ts'
import { DAY_MS, type Client, type Sink, type Step } from './traffic.ts'

/** One attack of a day. */
export interface Attack {
  readonly name: string
  readonly label: Label
  /** The first alarm is due within ten seconds. */
  readonly isFast: boolean
  /** @returns when it began */
  readonly play: (random: Random, add: Sink) => number
}

const MINUTE = 60_000

/** An attacker's own address, in a range that ordinary clients do not use. */
const hostOf = (attack: number, host = 1): string =>
  `203.${attack}.${(host >> 8) & 255}.${host & 255}`

function clientOf(attack: number, random: Random, host?: number): Client {
  const userAgent = random.pick(['curl/8', 'python-requests/2', 'Chrome/139', 'Go-http-client/2'])
  return { address: hostOf(attack, host), userAgent, country: random.pick(['BR', 'VN', 'NL']) }
}

/** Repeats a step, with a pause that varies by half. */
function repeat(
  count: number,
  pauseMs: number,
  random: Random,
  begin: number,
  make: (index: number) => Omit<Step, 'at'>,
  add: Sink,
): number {
  let at = begin
  for (let index = 0; index < count; index++) {
    add({ at, ...make(index) })
    at += pauseMs * random.between(0.5, 1.5)
  }
  return begin
}

const begin = (random: Random): number => random.between(MINUTE, DAY_MS - 60 * MINUTE)
const failed = { kind: 'login-failed', route: 'POST /login' } as const

function enumerate(
  number: number,
  name: string,
  next: (random: Random, index: number) => number,
): Attack {
  return {
    name,
    label: 'enumeration',
    isFast: true,
    play(random, add) {
      const client = clientOf(number, random)
      const offset = random.integer(1, 100_000)
      const make = (index: number) => {
        const resource = `${offset + next(random, index)}`
        return {
          ...client,
          kind: 'resource',
          route: 'GET /items/:id',
          resource,
          attack: name,
        } as const
      }
      return repeat(200, random.between(40, 120), random, begin(random), make, add)
    },
  }
}

/** The attacks, in the order of the table. */
export const attacks: readonly Attack[] = [
  {
    name: 'brute force',
    label: 'brute_force',
    isFast: true,
    play(random, add) {
      const client = clientOf(1, random)
      const account = `member-${random.integer(0, 119)}`
      const make = (index: number) => ({
        ...client,
        ...failed,
        account,
        secret: `g${index}`,
        attack: this.name,
      })
      return repeat(40, random.between(200, 1200), random, begin(random), make, add)
    },
  },
  {
    name: 'credential stuffing',
    label: 'credential_stuffing',
    isFast: true,
    play(random, add) {
      const hosts = random.integer(1, 4)
      const clients = Array.from({ length: hosts }, (_, host) => clientOf(2, random, host + 1))
      const make = (index: number) => ({
        ...clients[index % hosts]!,
        ...failed,
        account: `leaked-${index}`,
        secret: `leaked-secret-${index}`,
        attack: this.name,
      })
      return repeat(120, random.between(50, 300), random, begin(random), make, add)
    },
  },
  {
    name: 'password spraying',
    label: 'password_spraying',
    isFast: true,
    play(random, add) {
      // From one address, or from so many that none has five failures.
      const hosts = random.pick([1, 30])
      const clients = Array.from({ length: hosts }, (_, host) => clientOf(3, random, host + 1))
      const make = (index: number) => ({
        ...clients[index % hosts]!,
        ...failed,
        account: `member-${index}`,
        secret: 'Summer2026!',
        attack: this.name,
      })
      return repeat(90, random.between(150, 900), random, begin(random), make, add)
    },
  },
  {
    name: 'distributed brute force',
    label: 'distributed_brute_force',
    isFast: true,
    play(random, add) {
      const hosts = random.integer(15, 60)
      const account = `member-${random.integer(0, 119)}`
      const clients = Array.from({ length: hosts }, (_, host) => clientOf(4, random, host + 1))
      const make = (index: number) => ({
        ...clients[index % hosts]!,
        ...failed,
        account,
        secret: `g${index}`,
        attack: this.name,
      })
      return repeat(hosts * 3, random.between(300, 900), random, begin(random), make, add)
    },
  },
  enumerate(5, 'enumeration, sequential', (_random, index) => index),
  enumerate(6, 'enumeration, random', (random) => random.integer(0, 1_000_000)),
  enumerate(7, 'enumeration, step n', (_random, index) => index * 37),
  {
    name: 'mass export',
    label: 'mass_export',
    isFast: false,
    play(random, add) {
      const client = { ...clientOf(8, random), principalId: 'thief-8', sessionId: 's-thief-8' }
      const make = () =>
        ({ ...client, kind: 'export', route: 'GET /export', attack: this.name }) as const
      return repeat(20, random.between(1000, 15_000), random, begin(random), make, add)
    },
  },
  {
    name: 'slow exfiltration',
    label: 'slow_exfiltration',
    isFast: false,
    play(random, add) {
      const client = { ...clientOf(9, random), principalId: 'thief-9', sessionId: 's-thief-9' }
      const make = () =>
        ({ ...client, kind: 'export', route: 'GET /export', attack: this.name }) as const
      const pause = random.between(5, 14) * MINUTE
      return repeat(Math.floor(DAY_MS / pause / 1.05), pause, random, MINUTE, make, add)
    },
  },
  {
    name: 'flood',
    label: 'flood',
    isFast: true,
    play(random, add) {
      const client = clientOf(10, random)
      const make = () =>
        ({ ...client, kind: 'page', route: 'GET /', bytes: 5000, attack: this.name }) as const
      return repeat(3000, random.between(4, 16), random, begin(random), make, add)
    },
  },
  {
    name: 'token theft',
    label: 'token_theft',
    isFast: false,
    play(random, add) {
      const victim = { address: '10.200.0.1', userAgent: 'Safari/18', country: 'DE' }
      const session = { principalId: 'victim-11', sessionId: 's-victim-11' }
      const start = begin(random)
      const make = () => ({ ...victim, ...session, kind: 'page', route: 'GET /' }) as const
      repeat(30, 15_000, random, start - 5 * MINUTE, make, add)
      const thief = { ...clientOf(11, random), ...session }
      const steal = () => ({ ...thief, kind: 'page', route: 'GET /', attack: this.name }) as const
      return repeat(20, random.between(1000, 20_000), random, start, steal, add)
    },
  },
  {
    name: 'scraper',
    label: 'scraping',
    isFast: false,
    play(random, add) {
      const client = clientOf(12, random)
      const make = (index: number) =>
        ({
          ...client,
          kind: 'resource',
          route: 'GET /articles/:id',
          resource: `${index}`,
          attack: this.name,
        }) as const
      const start = random.between(MINUTE, DAY_MS / 2)
      return repeat(1500, random.between(1500, 2600), random, start, make, add)
    },
  },
  {
    name: 'scanner',
    label: 'scanning',
    isFast: true,
    play(random, add) {
      const client = clientOf(13, random)
      const make = (index: number) =>
        ({
          ...client,
          kind: 'unmatched',
          resource: `/probe-${index}.php`,
          attack: this.name,
        }) as const
      return repeat(200, random.between(30, 400), random, begin(random), make, add)
    },
  },
  {
    name: 'session hopping',
    label: 'session_hopping',
    isFast: false,
    play(random, add) {
      const thief = clientOf(14, random)
      const start = begin(random)
      const victims = random.integer(3, 6)
      for (let index = 0; index < victims; index++) {
        const session = { principalId: `victim-14-${index}`, sessionId: `s-victim-14-${index}` }
        const owner = { address: `10.201.0.${index + 1}`, userAgent: 'Firefox/140', country: 'FR' }
        const own = () => ({ ...owner, ...session, kind: 'page', route: 'GET /' }) as const
        repeat(20, 20_000, random, start - 6 * MINUTE, own, add)
        const steal = () =>
          ({ ...thief, ...session, kind: 'page', route: 'GET /', attack: this.name }) as const
        repeat(8, 4000, random, start + index * random.between(5000, 60_000), steal, add)
      }
      return start
    },
  },
]
