/** Runs rules over signals. Pure: a signal brings its time, and detections are returned. */
import { createKeyHash, type KeyHash } from '../windows/key-hash.ts'
import { CountWindows, DistinctWindows, SumWindows, type Windows } from '../windows/windows.ts'
import { createBudget, type Budget } from './budget.ts'
import { subjectOf, type Detection, type Evidence, type Rule } from './rule.ts'
import { keyOf, type Signal, type SignalKey } from './signal.ts'

const NOTHING: readonly Detection[] = Object.freeze([])
const DEFAULT_MAX_KEYS = 100_000
const MAX_CAPACITY = 16_384
/** A budget raises a limit to so many times its definition, at most. */
const MAX_RISE = 3

interface CompiledRule {
  readonly rule: Rule
  readonly windows: Windows
  readonly also: readonly {
    readonly name: string
    readonly key: SignalKey
    readonly windows: Windows
  }[]
  readonly item: SignalKey | undefined
  readonly budget: Budget | undefined
  /** What raises the limit of a key. */
  readonly allowed: DistinctWindows | undefined
}

/** Runs rules. */
export interface RuleEngine {
  /** Counts a signal in every rule that is on it. @returns what it exceeds, usually nothing. */
  observe(signal: Signal): readonly Detection[]
  /** The limit of a rule now: higher than its definition where a budget has raised it. */
  limitOf(rule: string): number | undefined
  /** Forgets what raised the limit of a rule. */
  resetBudget(rule: string): void
  /** How many keys are tracked, by rule. */
  readonly sizes: Readonly<Record<string, number>>
}

/** Compiles the rules. @param hash @default one with a random seed */
export function createRuleEngine(
  rules: readonly Rule[],
  hash: KeyHash = createKeyHash(),
): RuleEngine {
  const compiled = rules.map(compile)
  const bySignal = new Map<string, CompiledRule[]>()
  for (const each of compiled) {
    for (const name of [each.rule.on, each.rule.allowance?.on ?? []].flat()) {
      const list = bySignal.get(name) ?? []
      bySignal.set(name, [...list, each])
    }
  }
  return {
    observe(signal) {
      const list = bySignal.get(signal.name)
      if (list === undefined) return NOTHING
      let found: Detection[] | undefined
      for (const each of list) {
        const detection = evaluate(each, signal, hash)
        if (detection !== undefined) (found ??= []).push(detection)
      }
      return found ?? NOTHING
    },
    limitOf(name) {
      const each = compiled.find(({ rule }) => rule.name === name)
      return each && Math.max(each.rule.limit, each.budget?.threshold ?? 0)
    },
    resetBudget(name) {
      compiled.find(({ rule }) => rule.name === name)?.budget?.reset()
    },
    get sizes() {
      return Object.fromEntries(compiled.map(({ rule, windows }) => [rule.name, windows.size]))
    },
  }
}

function compile(rule: Rule): CompiledRule {
  const { count = 'signals', limit, withinMs, maxKeys = DEFAULT_MAX_KEYS, allowance } = rule
  const highest = Math.min(MAX_RISE * limit, count === 'amount' ? Infinity : MAX_CAPACITY - 1)
  const budget = rule.falsePositiveRatio
    ? createBudget(rule.falsePositiveRatio, highest)
    : undefined
  const capacity =
    count === 'amount'
      ? 1
      : Math.min(MAX_CAPACITY, budget ? highest + 1 : limit + (allowance?.most ?? 0))
  const settings = { windowMs: withinMs, capacity, maxKeys }
  return {
    rule,
    windows:
      count === 'signals'
        ? new CountWindows(settings)
        : count === 'amount'
          ? new SumWindows(settings)
          : new DistinctWindows(settings),
    also: Object.entries(rule.also ?? {}).map(([name, key]) => ({
      name,
      key,
      windows: new DistinctWindows(settings),
    })),
    item: typeof count === 'object' ? count.distinct : undefined,
    budget,
    allowed:
      allowance &&
      new DistinctWindows({ windowMs: allowance.withinMs, capacity: allowance.most + 1, maxKeys }),
  }
}

function evaluate(
  { rule, windows, also, item, budget, allowed }: CompiledRule,
  signal: Signal,
  hash: KeyHash,
): Detection | undefined {
  if (rule.where?.(signal) === false) return undefined
  const key = hashOf(signal, rule.by, hash)
  if (key === undefined) return undefined
  if (signal.name === rule.allowance?.on) {
    const member = hashOf(signal, rule.allowance.distinct, hash)
    if (member !== undefined) allowed?.add(key, signal.atMs, member)
    return undefined
  }
  const value = item === undefined ? signal.amount : hashOf(signal, item, hash)
  if (item !== undefined && value === undefined) return undefined
  const reading = windows.add(key, signal.atMs, value ?? 0)
  const counts: Record<string, number> = {}
  for (const { name, key: member, windows: others } of also) {
    const other = hashOf(signal, member, hash)
    if (other !== undefined) counts[name] = others.add(key, signal.atMs, other)
  }
  const threshold = budget?.learn(key, reading)
  // One user alone has the plain limit.
  const limit = rule.limit + Math.max(0, (allowed?.read(key, signal.atMs) ?? 0) - 1)
  if (reading < limit || (threshold !== undefined && reading <= threshold)) return undefined
  return detect(rule, signal, {
    count: reading,
    limit,
    withinMs: rule.withinMs,
    ...counts,
  })
}

function detect(rule: Rule, signal: Signal, evidence: Evidence): Detection {
  const { name, label = name, severity = 'medium', by, respond, mode } = rule
  return {
    rule: name,
    label: typeof label === 'function' ? label(evidence) : label,
    severity,
    subject: subjectOf(signal, by),
    group: groupOf(signal, by),
    evidence,
    ...(signal.route === undefined ? undefined : { route: signal.route }),
    ...(respond === undefined ? undefined : { respond }),
    ...(mode === undefined ? undefined : { mode }),
    ...(signal.origin === undefined ? undefined : { origin: signal.origin }),
  }
}

function groupOf(signal: Signal, by: Rule['by']): string {
  return [by]
    .flat()
    .map((key) => keyOf(signal, key))
    .join(' ')
}

function hashOf(
  signal: Signal,
  key: SignalKey | readonly [SignalKey, SignalKey],
  hash: KeyHash,
): number | undefined {
  if (typeof key !== 'string') {
    const [first, second] = [keyOf(signal, key[0]), keyOf(signal, key[1])]
    if (first === undefined || second === undefined) return undefined
    return signal.origin === undefined ? hash(first, second) : hash(signal.origin + first, second)
  }
  const text = keyOf(signal, key)
  if (text === undefined) return undefined
  return signal.origin === undefined ? hash(text) : hash(signal.origin, text)
}
