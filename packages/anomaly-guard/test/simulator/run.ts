/** Plays a day through the real core in mode "alert", and compares what was found with what took place. */
import { createManualClock } from '@parapet/kit'
import { rules, type Anomaly } from '@parapet/anomaly-guard'
import { correlate } from '../../src/incidents/correlate.ts'
import { resolveOptions } from '../../src/options.ts'
import { createSessionMoves } from '../../src/rules/session-moves.ts'
import { createGuard } from '../../src/service/guard.ts'
import type { GuardReporter } from '../../src/service/reporter.ts'
import { attacks } from './attacks.ts'
import { createRandom } from './random.ts'
import { playOrdinaryDay, type Step } from './traffic.ts'

/** What became of one attack. */
interface AttackResult {
  readonly name: string
  readonly isFast: boolean
  readonly isFound: boolean
  readonly hasLabel: boolean
  readonly firstAlarmMs: number
}

/** What became of one day. */
export interface DayResult {
  readonly seed: number
  readonly ordinaryRequests: number
  /** Anomalies about clients that did nothing. */
  readonly falseAlarms: readonly string[]
  readonly attacks: readonly AttackResult[]
}

const ignore = (): void => {}

/** Plays one day. The same seed gives the same day. */
export async function playDay(seed: number): Promise<DayResult> {
  const random = createRandom(seed)
  const steps: Step[] = []
  const add = (step: Step): void => void steps.push(step)
  playOrdinaryDay(random, add)
  const begun = new Map(attacks.map((attack) => [attack.name, attack.play(random, add)]))
  steps.sort((a, b) => a.at - b.at)

  const clock = createManualClock(1_800_000_000_000)
  const found: Anomaly[] = []
  const report: GuardReporter = {
    detected: (anomaly) => void found.push(anomaly),
    incidentOpened: ignore,
    modeChanged: ignore,
    feedbackGiven: ignore,
    budgetExceeded: ignore,
    contained: ignore,
    lifted: ignore,
    capReached: ignore,
    failed: (error) => {
      throw error
    },
  }
  const guard = createGuard(resolveOptions({ mode: 'alert', rules: rules.all(), clock }), report)
  const start = clock.now()
  const moves = createSessionMoves()
  const attackers = new Map<string, string>()
  let ordinaryRequests = 0
  for (const step of steps) {
    clock.advance(start + step.at - clock.now())
    if (step.attack === undefined) ordinaryRequests++
    else attackers.set(step.address, step.attack)
    feed(guard, moves, step)
  }
  await guard.settle()
  await guard.stop()
  const results = attacks.map(({ name, label, isFast }) => {
    const own = found.filter(({ subject }) => attackers.get(subject.address ?? '') === name)
    const [first] = own
    const labels = correlate(own).map((incident) => incident.label)
    const firstAlarmMs = first === undefined ? Infinity : first.time - start - begun.get(name)!
    return {
      name,
      isFast,
      isFound: first !== undefined,
      hasLabel: labels.includes(label),
      firstAlarmMs,
    }
  })
  const falseAlarms = found
    .filter(({ subject }) => !attackers.has(subject.address ?? ''))
    .map(({ label, subject }) => `${label} ${subject.principalId ?? subject.address}`)
  return { seed, ordinaryRequests, falseAlarms, attacks: results }
}

/** What the hook on responses and the handler of a login tell the guard. */
function feed(
  guard: ReturnType<typeof createGuard>,
  moves: ReturnType<typeof createSessionMoves>,
  step: Step,
): void {
  const { kind, address, userAgent, country, principalId, sessionId, account, secret, route } = step
  const signal = {
    atMs: guard.tick(),
    address,
    principalId,
    sessionId,
    account,
    secret,
    route,
    resource: step.resource,
    amount: step.bytes ?? 1000,
  }
  if (kind.startsWith('login')) guard.observe({ ...signal, name: kind })
  guard.observe({ ...signal, name: kind === 'unmatched' ? 'unmatched' : 'request' })
  if (kind === 'resource' || kind === 'export') guard.observe({ ...signal, name: kind })
  if (sessionId === undefined) return
  const moved = moves.observe({ sessionId, atMs: signal.atMs, address, userAgent, country })
  if (moved !== undefined) guard.observe({ ...signal, name: 'session-moved', moved })
}

/** Sums of several days, as the goals ask for them. */
export interface Score {
  readonly recall: number
  readonly labelled: number
  /** The slowest first alarm of a fast attack. */
  readonly slowestFastMs: number
  readonly ordinaryRequests: number
  readonly falseAlarms: readonly string[]
  readonly table: string
}

const share = (list: readonly AttackResult[], key: 'isFound' | 'hasLabel') =>
  list.filter((each) => each[key]).length / list.length

/** Adds days up. */
export function scoreDays(days: readonly DayResult[]): Score {
  const all = days.flatMap((day) => day.attacks)
  const rows = attacks.map(({ name }) => {
    const own = all.filter((each) => each.name === name)
    const times = own.map(({ firstAlarmMs }) => firstAlarmMs / 1000).toSorted((a, b) => a - b)
    const [median, most] = [times[times.length >> 1]!, times.at(-1)!]
    const cells = [share(own, 'isFound'), share(own, 'hasLabel')].map((each) => each.toFixed(3))
    return `${name.padEnd(26)} ${cells.join('   ')}   ${median.toFixed(1).padStart(8)} ${most.toFixed(1).padStart(8)}`
  })
  const fast = all.filter(({ isFast, isFound }) => isFast && isFound)
  return {
    recall: share(all, 'isFound'),
    labelled: share(all, 'hasLabel'),
    slowestFastMs: Math.max(...fast.map(({ firstAlarmMs }) => firstAlarmMs)),
    ordinaryRequests: days.reduce((sum, day) => sum + day.ordinaryRequests, 0),
    falseAlarms: days.flatMap((day) => day.falseAlarms),
    table: [
      `${'attack'.padEnd(26)} recall  label   first alarm, s: median and slowest`,
      ...rows,
    ].join('\n'),
  }
}
