/**
 * Receives detections and makes anomalies of them: the first of a rule and group is recorded, reported
 * and answered; the following ones of the same window are only counted, but answered as well.
 */
import { uuidV7, withDeadline, type Clock, type Store } from '@parapet/kit'
import type { Detection, Response } from '../rules/rule.ts'
import { createAnomaly, type Anomaly } from './anomaly.ts'
import { correlate, patternOf, type Incident } from './correlate.ts'
import type { ImpactRecorder } from './impact.ts'
import type { Modes } from './modes.ts'
import { responsesTo, type Responder } from './responder.ts'
import type { Timeline } from './timeline.ts'

/** See {@link createDesk}. */
export interface DeskSettings {
  readonly store: Store
  readonly clock: Clock
  readonly modes: Modes
  readonly timeline: Timeline
  readonly impact: ImpactRecorder
  readonly respond: Responder
  readonly responses: Readonly<Record<string, readonly Response[]>>
  readonly onDetected: (anomaly: Anomaly) => void
  readonly onIncident: (incident: Incident) => void
  readonly onError: (error: unknown, what: string) => void
}

/** Receives detections. */
export interface Desk {
  /** Never throws. @param source the request, for events. */
  report(detection: Detection): void
  /** Whether an attack on logins was detected in the last minutes: from this address, or on this account. */
  loginAttack(account: string | undefined, address: string): 'address' | 'account' | undefined
  incidents(): Incident[]
  /** Resolves when what was reported so far has been recorded, or the store is too slow. */
  settle(): Promise<void>
}

/** Detections that follow each other closer than this are one anomaly. */
const FOLD_MS = 600_000
const MAX_OPEN = 20_000
const SETTLE_MS = 10_000
/** So many clients of a /24, or of an IPv6 /48, are anomalies of their own within the time. */
const MAX_CROWD = 30

interface OpenAnomaly {
  readonly id: string
  lastAt: number
}

/** Creates the desk of one instance. */
export function createDesk(settings: DeskSettings): Desk {
  return new AnomalyDesk(settings)
}

class AnomalyDesk implements Desk {
  readonly #settings: DeskSettings
  readonly #open = new Map<string, OpenAnomaly>()
  readonly #crowds = new Map<string, { readonly since: number; readonly groups: Set<string> }>()
  readonly #pending = new Set<Promise<void>>()

  constructor(settings: DeskSettings) {
    this.#settings = settings
  }

  report(detection: Detection): void {
    const { clock, modes, impact, respond, responses } = this.#settings
    const { rule, group } = detection
    const mode = modes.of(rule, detection.mode)
    const now = clock.now()
    impact.detected(detection)
    const key = this.#crowdOf(detection, now) ?? `${rule} ${group}`
    let open = this.#open.get(key)
    const isNew = open === undefined || open.lastAt <= now - FOLD_MS
    if (open === undefined || isNew) {
      open = { id: uuidV7(), lastAt: now }
      if (this.#open.size >= MAX_OPEN) this.#open.delete(this.#open.keys().next().value!)
      this.#open.set(key, open)
      for (const response of responsesTo(detection, responses)) impact.responded(rule, response)
      const anomaly = createAnomaly(open.id, now, mode, detection)
      this.#track(this.#record(anomaly, key))
    }
    open.lastAt = now
    if (mode === 'enforce') respond(detection, open.id)
  }

  /** One anonymous client has many addresses of its network: beyond a few, the network is one subject. */
  #crowdOf({ rule, group, subject }: Detection, now: number): string | undefined {
    const { address, principalId, account } = subject
    if (address === undefined || principalId !== undefined || account !== undefined)
      return undefined
    const network = address.split(/[.:]/).slice(0, 3).join('.')
    const key = `${rule} network ${network}`
    let crowd = this.#crowds.get(key)
    if (crowd === undefined || crowd.since <= now - FOLD_MS) {
      this.#crowds.delete(key)
      if (this.#crowds.size >= MAX_OPEN) this.#crowds.delete(this.#crowds.keys().next().value!)
      crowd = { since: now, groups: new Set() }
      this.#crowds.set(key, crowd)
    }
    if (crowd.groups.has(group)) return undefined
    if (crowd.groups.size >= MAX_CROWD) return key
    crowd.groups.add(group)
    return undefined
  }

  loginAttack(account: string | undefined, address: string): 'address' | 'account' | undefined {
    let found: 'account' | undefined
    for (const { label, subject, verdict } of this.#settings.timeline.recent.values()) {
      if (patternOf(label) !== 'brute_force' || verdict === 'false-positive') continue
      if (subject.address === address) return 'address'
      if (account !== undefined && subject.account === account) found = 'account'
    }
    return found
  }

  incidents(): Incident[] {
    return correlate([...this.#settings.timeline.recent.values()])
  }

  async settle(): Promise<void> {
    const { clock, onError } = this.#settings
    const late = () => new Error(`the store did not answer within ${SETTLE_MS} ms`)
    // What is detected meanwhile is not waited for, and a store that hangs must not keep an app from closing.
    await withDeadline(Promise.all(this.#pending), SETTLE_MS, late, clock).catch((error: unknown) =>
      onError(error, 'record what was detected'),
    )
  }

  #track(task: Promise<void>): void {
    const tracked = task
      .catch((error: unknown) => this.#settings.onError(error, 'record an anomaly'))
      .finally(() => this.#pending.delete(tracked))
    this.#pending.add(tracked)
  }

  async #record(anomaly: Anomaly, key: string): Promise<void> {
    const { timeline, impact, onDetected, onIncident } = this.#settings
    // Another instance may have seen the same attack first; then it has reported it.
    if (!(await this.#claim(`anomaly-guard:open:${key}`, anomaly.id))) return
    impact.recorded(anomaly)
    await timeline.record(anomaly, true)
    onDetected(anomaly)
    const incident = this.incidents().find(({ evidence }) => evidence.includes(anomaly.id))
    if (incident === undefined || incident.id !== anomaly.id) return
    onIncident(incident)
  }

  async #claim(key: string, id: string): Promise<boolean> {
    try {
      return await this.#settings.store.setIfAbsent(key, id, FOLD_MS)
    } catch (error) {
      this.#settings.onError(error, 'claim an anomaly')
      return true
    }
  }
}
