/** The parts of one instance, put together: rules feed the desk, the desk feeds containment. */
import { createHmac } from 'node:crypto'
import { createMemoryStore, takeRandom, type Clock, type Store } from '@parapet/kit'
import { createActive, type ActiveContainments } from '../contain/active.ts'
import { createAllowlist, type Allowlist } from '../contain/allowlist.ts'
import { createContainments, type Containments } from '../contain/containments.ts'
import { createPorts, type ContainmentPorts } from '../contain/ports.ts'
import {
  CAP_WINDOW_MS,
  createClientCounter,
  createShareCap,
  type ClientCounter,
} from '../contain/share-cap.ts'
import { shareContainments, type SharedContainments } from '../contain/shared-containments.ts'
import { createDesk, type Desk } from '../incidents/desk.ts'
import { createImpactRecorder, type ImpactRecorder } from '../incidents/impact.ts'
import { createModes, type Modes } from '../incidents/modes.ts'
import { createResponder, defaultResponses } from '../incidents/responder.ts'
import { createTimeline, type Timeline } from '../incidents/timeline.ts'
import type { AnomalyGuardSettings } from '../options.ts'
import type { Response } from '../rules/rule.ts'
import { createRuleEngine, type RuleEngine } from '../rules/rule-engine.ts'
import { shareSignals, type SignalSharing } from '../rules/share-signals.ts'
import type { Signal } from '../rules/signal.ts'
import { createFailureMemory, isTakeover, takeoverOf } from './takeover.ts'
import { otherRules } from '../incidents/anomaly.ts'
import { createKeyHash, type KeyHash } from '../windows/key-hash.ts'
import type { GuardReporter } from './reporter.ts'

/** One instance of the guard. */
export interface Guard {
  readonly settings: AnomalyGuardSettings
  readonly store: Store
  readonly clock: Clock
  readonly secret: Uint8Array
  readonly engine: RuleEngine
  readonly desk: Desk
  readonly modes: Modes
  readonly timeline: Timeline
  readonly impact: ImpactRecorder
  readonly active: ActiveContainments
  readonly allowlist: Allowlist
  readonly containments: Containments
  readonly shared: SharedContainments
  readonly ports: ContainmentPorts
  readonly clients: ClientCounter
  readonly hash: KeyHash
  readonly report: GuardReporter
  /** The time of signals: milliseconds that never go back. */
  readonly tick: () => number
  /** A keyed hash of an account name, a password or a token, equal on all instances of one secret. */
  readonly pseudonym: (kind: 'account' | 'secret', text: string) => string
  /** Feeds a signal of this instance to the rules, and to the other instances. */
  observe(signal: Signal): void
  start(): Promise<void>
  stop(): Promise<void>
  /** Resolves when what was detected so far has been recorded and shared. */
  settle(): Promise<void>
}

const SWEEP_MS = 1000
const SWEEP_STEPS = 2000

/** Creates an instance. It does nothing in the background before `start`. */
export function createGuard(settings: AnomalyGuardSettings, report: GuardReporter): Guard {
  const { clock } = settings
  const ownStore = settings.store === undefined ? createMemoryStore({ clock }) : undefined
  const store = settings.store ?? ownStore!
  const secret =
    settings.secret === undefined ? takeRandom(32) : Buffer.from(settings.secret, 'utf8')
  const hash = createKeyHash()
  const tick = clock.monotonic ?? clock.now
  const containing = assembleContainment(settings, { store, clock, tick, report })
  const detecting = assembleDetection(settings, { store, clock, hash, report, containing })
  const { engine, desk, modes, timeline } = detecting
  const { active, shared, containments } = containing

  const feed = createFeed(engine, desk)
  const onError = report.failed
  const signals: SignalSharing = shareSignals({ store, clock, tick, receive: feed, onError })
  let cancelSweep: (() => void) | undefined
  const sweep = (): void => {
    active.sweep(clock.now(), SWEEP_STEPS)
    cancelSweep = clock.schedule(SWEEP_MS, sweep)
  }
  const shares = [shared, modes, timeline, signals]
  return {
    settings,
    store,
    clock,
    secret,
    hash,
    report,
    tick,
    ...containing,
    ...detecting,
    pseudonym: (kind, text) => pseudonymOf(secret, kind, text),
    observe(signal) {
      feed(signal)
      // A store of this process has no other listener.
      if (ownStore === undefined) signals.send(signal)
    },
    async start() {
      await Promise.all(shares.map((each) => each.start()))
      sweep()
    },
    async stop() {
      cancelSweep?.()
      await Promise.all([desk.settle(), containments.settle()])
      await Promise.all(shares.map((each) => each.stop()))
      await ownStore?.close()
    },
    async settle() {
      await Promise.all([desk.settle(), containments.settle()])
    },
  }
}

/** One account is one, however its name is written. What is no text comes from a body that nobody checked. */
function pseudonymOf(secret: Uint8Array, kind: 'account' | 'secret', value: unknown): string {
  const given = typeof value === 'string' ? value : `a ${typeof value}`
  const text = kind === 'account' ? given.normalize('NFKC').trim().toLowerCase() : given
  return createHmac('sha256', secret).update(`${kind} ${text}`).digest('base64url').slice(0, 22)
}

/** Runs the rules over a signal, and reports what they find in signals of this instance. */
function createFeed(engine: RuleEngine, desk: Desk): (signal: Signal) => void {
  const failures = createFailureMemory()
  return (signal) => {
    const detections = engine.observe(signal)
    // The instance on which it happened reports it.
    if (signal.isForeign === true) return
    for (const detection of detections) desk.report(detection)
    if (signal.name === 'login-failed') failures.note(signal)
    if (signal.name === 'login-succeeded' && isTakeover(desk, failures, signal)) {
      desk.report(takeoverOf(signal))
    }
  }
}

interface Context {
  readonly store: Store
  readonly clock: Clock
  readonly report: GuardReporter
}

function assembleContainment(
  { contain, allow, allowPrincipals, tighten, stepUp, revoke }: AnomalyGuardSettings,
  { store, clock, tick, report }: Context & { readonly tick: () => number },
) {
  const active = createActive()
  const allowlist = createAllowlist(allow, allowPrincipals)
  const clients = createClientCounter(CAP_WINDOW_MS)
  const cap = createShareCap({ ...contain, clients, tick })
  const ports = createPorts({ tighten, stepUp, revoke }, clock)
  const shared = shareContainments({
    store,
    clock,
    active,
    onError: (error) => report.failed(error, 'share containments'),
    onReceived: ({ kind, by }) => {
      if (kind === 'block' && by === null) cap.take()
    },
  })
  const { maxContainments, ...ladder } = contain
  const parts = { store, clock, active, shared, allowlist, cap, ladder, ports, report }
  const containments = createContainments({ ...parts, maxContainments })
  return { active, allowlist, clients, ports, shared, containments }
}

function assembleDetection(
  settings: AnomalyGuardSettings,
  {
    store,
    clock,
    hash,
    report,
    containing,
  }: Context & { readonly hash: KeyHash; readonly containing: { containments: Containments } },
) {
  const { mode, rules, retentionMs, challenge } = settings
  // Without a prototype: a label of the user may be called "constructor".
  const responses = Object.assign(
    Object.create(null) as Record<string, readonly Response[]>,
    defaultResponses,
    settings.respond,
  )
  const onError = report.failed
  const modes = createModes({
    store,
    clock,
    mode,
    onError: (error) => report.failed(error, 'read the modes'),
  })
  const timeline = createTimeline({
    store,
    clock,
    retentionMs,
    onError,
    rules: [...rules.map(({ name }) => name), ...otherRules],
  })
  const impact = createImpactRecorder(clock.now())
  const respond = createResponder(containing.containments, responses, challenge !== undefined)
  const { detected, incidentOpened } = report
  const desk = createDesk({
    store,
    clock,
    modes,
    timeline,
    impact,
    respond,
    responses,
    onDetected: detected,
    onIncident: incidentOpened,
    onError,
  })
  const engine = createRuleEngine(rules, hash)
  return { modes, timeline, impact, desk, engine, responses }
}
