/** `app.anomaly`: what an operator and the code of the application see of the guard. */
import { PARAPET_ANOMALY_GUARD_INVALID_ARGUMENT, PARAPET_ANOMALY_GUARD_UNKNOWN } from '../errors.ts'
import type { BehaviourModel, LearningPhase } from '../behaviour/types.ts'
import { otherRules, type Anomaly, type Verdict } from '../incidents/anomaly.ts'
import type { Incident } from '../incidents/correlate.ts'
import { causedBy, explainAnomaly, type Explanation } from '../incidents/explain.ts'
import type { Impact } from '../incidents/impact.ts'
import type { Mode } from '../rules/rule.ts'
import { createContainApi, type Contain } from './contain-api.ts'
import type { Guard } from './guard.ts'

/** One rule and its state. */
export interface RuleStatus {
  readonly name: string
  readonly mode: Mode
  /** The reading from which on it detects; `null` for `inspection`, `behaviour`, `geo` and `takeover`. */
  readonly limit: number | null
}

/** The decorator `app.anomaly`. */
export interface AnomalyGuard {
  /** Measures and their end. */
  readonly contain: Contain
  /** Anomalies of the fleet, the oldest first. @param sinceMs Unix epoch. @default the last day */
  timeline(sinceMs?: number): Promise<Anomaly[]>
  /** Incidents of the last 30 minutes, the latest first. */
  incidents(): readonly Incident[]
  /** Why an anomaly was detected and what was done. @throws PARAPET_ANOMALY_GUARD_UNKNOWN */
  explain(id: string): Promise<Explanation>
  /**
   * Says whether an anomaly was one. `false-positive` lifts what its rule has put in force; `true-positive`
   * makes the rule forget what has raised its limit. The same verdict again changes nothing.
   *
   * @returns how many containments were lifted.
   * @throws PARAPET_ANOMALY_GUARD_UNKNOWN
   */
  feedback(id: string, verdict: Verdict, request: { readonly by: string }): Promise<number>
  /** What a rule has done, or in shadow would have done. @throws PARAPET_ANOMALY_GUARD_UNKNOWN */
  impact(rule: string): Impact
  /** Lets a rule, or all without a mode of their own (`*`), contain. @throws PARAPET_ANOMALY_GUARD_UNKNOWN */
  promote(rule: string, request: { readonly by: string; readonly mode?: Mode }): Promise<void>
  readonly rules: readonly RuleStatus[]
  /** `cold` and `shadow` while the behaviour score learns; `null` where it is switched off. */
  readonly learning: LearningPhase | null
  /** The model of the behaviour score, to save, load and watch; `null` where it is switched off. */
  readonly behaviour: BehaviourModel | null
  /** Whether this instance hears of the containments of the others. */
  readonly isShared: boolean
  /** Resolves when all that was detected so far is recorded and shared; for tests and shutdown. */
  settle(): Promise<void>
}

const DAY_MS = 86_400_000

/** Creates the API. */
export function createAnomalyApi(guard: Guard, behaviour: BehaviourModel | null): AnomalyGuard {
  const { settings, engine, modes, impact, timeline, desk, report, active, clock } = guard
  const modeOf = (name: string): Mode => modes.of(name, ownModeOf(guard, name))
  const known = [...settings.rules.map(({ name }) => name), ...otherRules]
  const requireRule = (name: string): void => {
    if (!known.includes(name)) throw new PARAPET_ANOMALY_GUARD_UNKNOWN(`rule "${name}"`)
  }
  const requireAnomaly = async (id: string): Promise<Anomaly> => {
    const anomaly = await timeline.find(id)
    if (anomaly === undefined) throw new PARAPET_ANOMALY_GUARD_UNKNOWN('anomaly')
    return anomaly
  }
  const api = createContainApi(guard)
  return {
    contain: api,
    timeline: (sinceMs = clock.now() - DAY_MS) => timeline.list(sinceMs),
    incidents: () => desk.incidents(),
    async explain(id) {
      return explainAnomaly(await requireAnomaly(id), desk.incidents(), active.list(clock.now()))
    },
    async feedback(id, verdict, { by }) {
      requireVerdict(verdict)
      const anomaly = await requireAnomaly(id)
      if (anomaly.verdict === verdict) return 0
      return judge(guard, api, Object.freeze({ ...anomaly, verdict }), by)
    },
    impact(rule) {
      requireRule(rule)
      return impact.report(rule, modeOf(rule))
    },
    async promote(rule, { by, mode = 'enforce' }) {
      if (rule !== '*') requireRule(rule)
      await modes.set(rule, mode)
      report.modeChanged(rule, mode, by)
    },
    get rules() {
      return known.map((name) => ({
        name,
        mode: modeOf(name),
        limit: engine.limitOf(name) ?? null,
      }))
    },
    get learning() {
      return behaviour?.phase ?? null
    },
    behaviour,
    get isShared() {
      return settings.store !== undefined && guard.shared.isCurrent
    },
    settle: () => guard.settle(),
  }
}

/** The mode that the options give a rule. */
function ownModeOf({ settings }: Guard, name: string): Mode | undefined {
  if (name === 'inspection') return settings.inspect.mode
  if (name === 'behaviour') return settings.behaviour.mode
  if (name === 'geo') return settings.geo?.mode
  return settings.rules.find((rule) => rule.name === name)?.mode
}

function requireVerdict(verdict: unknown): void {
  if (verdict === 'false-positive' || verdict === 'true-positive') return
  const problem = 'must be "false-positive" or "true-positive"'
  throw new PARAPET_ANOMALY_GUARD_INVALID_ARGUMENT('"verdict"', problem)
}

/** Keeps a verdict, and ends what a false anomaly has caused. @returns how many containments were lifted */
async function judge(guard: Guard, contain: Contain, judged: Anomaly, by: string): Promise<number> {
  await guard.timeline.record(judged, false)
  let lifted = 0
  if (judged.verdict === 'false-positive') {
    const caused = causedBy(judged, contain.list())
    for (const { id } of caused) {
      if ((await contain.lift(id, { by })) !== undefined) lifted++
    }
    await enforceBudget(guard, judged.rule)
  } else guard.engine.resetBudget(judged.rule)
  guard.report.feedbackGiven(judged, by, lifted)
  return lifted
}

/** A rule with more false positives than its budget contains nobody until an operator promotes it again. */
async function enforceBudget({ settings, impact, modes, report }: Guard, name: string) {
  const falsePositives = impact.falsePositive(name)
  const budget = settings.rules.find((rule) => rule.name === name)?.falsePositiveRatio
  const { requests } = impact
  if (!budget || falsePositives <= Math.max(1, budget * requests)) return
  await modes.set(name, 'shadow')
  report.budgetExceeded(name, falsePositives, requests)
}
