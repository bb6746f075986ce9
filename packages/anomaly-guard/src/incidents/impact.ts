/** What a rule has done, or in shadow would have done: the report to read before it is promoted. */
import type { Detection, Mode, Response } from '../rules/rule.ts'
import type { Anomaly } from './anomaly.ts'

/** The report on one rule, of this instance since its start. */
export interface Impact {
  readonly rule: string
  readonly mode: Mode
  readonly since: number
  /** Finished requests, of all clients. */
  readonly requests: number
  /** Signals that exceeded the rule. */
  readonly detections: number
  readonly anomalies: number
  /** Different clients that exceeded it, at most 10 000. */
  readonly clients: number
  /** Those of them that were logged in. */
  readonly knownClients: number
  /** `anomalies / requests`. */
  readonly anomalyRatio: number
  /** How often each response was, or would have been, taken. */
  readonly responses: Readonly<Partial<Record<Response, number>>>
  /** The routes with the most detections, at most 5. */
  readonly routes: Readonly<Record<string, number>>
  /** Ids of the latest anomalies, at most 20. */
  readonly latest: readonly string[]
  /** Anomalies that operators have called false. */
  readonly falsePositives: number
}

interface Tally {
  detections: number
  anomalies: number
  falsePositives: number
  readonly clients: Set<string>
  readonly known: Set<string>
  readonly responses: Map<Response, number>
  readonly routes: Map<string, number>
  latest: string[]
}

/** Keeps the tallies. */
export interface ImpactRecorder {
  request(): void
  detected(detection: Detection): void
  responded(rule: string, response: Response): void
  recorded(anomaly: Anomaly): void
  /** @returns how many false positives the rule has had. */
  falsePositive(rule: string): number
  report(rule: string, mode: Mode): Impact
  readonly requests: number
}

const MAX_CLIENTS = 10_000
const MAX_ROUTES = 200

/** Creates the recorder. @param since the time of the boot */
export function createImpactRecorder(since: number): ImpactRecorder {
  const tallies = new Map<string, Tally>()
  let requests = 0
  const tallyOf = (rule: string): Tally => {
    let tally = tallies.get(rule)
    if (tally === undefined) {
      tally = {
        detections: 0,
        anomalies: 0,
        falsePositives: 0,
        clients: new Set(),
        known: new Set(),
        responses: new Map(),
        routes: new Map(),
        latest: [],
      }
      tallies.set(rule, tally)
    }
    return tally
  }
  return {
    request: () => void requests++,
    get requests() {
      return requests
    },
    detected({ rule, subject: { principalId, address }, route }) {
      const tally = tallyOf(rule)
      tally.detections++
      if (tally.clients.size < MAX_CLIENTS) tally.clients.add(principalId ?? address ?? '')
      if (principalId !== undefined && tally.known.size < MAX_CLIENTS) tally.known.add(principalId)
      if (route !== undefined && (tally.routes.has(route) || tally.routes.size < MAX_ROUTES)) {
        add(tally.routes, route)
      }
    },
    responded: (rule, response) => add(tallyOf(rule).responses, response),
    recorded({ rule, id }) {
      const tally = tallyOf(rule)
      tally.anomalies++
      tally.latest = [...tally.latest.slice(-19), id]
    },
    falsePositive: (rule) => ++tallyOf(rule).falsePositives,
    report(rule, mode) {
      const { clients, known, responses, routes, latest, ...counts } = tallyOf(rule)
      const top = [...routes].toSorted((a, b) => b[1] - a[1]).slice(0, 5)
      return {
        rule,
        mode,
        since,
        requests,
        ...counts,
        clients: clients.size,
        knownClients: known.size,
        anomalyRatio: requests === 0 ? 0 : counts.anomalies / requests,
        responses: Object.fromEntries(responses),
        routes: Object.fromEntries(top),
        latest,
      }
    },
  }
}

function add<K>(counts: Map<K, number>, key: K): void {
  counts.set(key, (counts.get(key) ?? 0) + 1)
}
