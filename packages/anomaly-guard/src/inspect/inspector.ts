/** Inspects requests for attacks: folds each value, looks for signatures, and asks the model about hints. */
import { allSignatures } from '../signatures/all.ts'
import type { SignaturePart } from '../signatures/signature.ts'
import { decodeBase64 } from './base64.ts'
import { compileFields, type FieldLookup } from './fields.ts'
import { foldValue } from './fold.ts'
import { PARAPET_ANOMALY_GUARD_INVALID_ARGUMENT } from '../errors.ts'
import { Matcher, type Match } from './matcher.ts'
import { attackProbability } from './model.ts'
import { findFieldsProblem, findWithoutProblem } from './settings.ts'
import type { AttackClass, Finding, Inspection, Inspector, InspectorSettings } from './types.ts'
import { walkRequest, type Place, type Visitor } from './walk.ts'

const MAX_REASONS = 8
const MAX_LOCATION = 120
/** Names and headers repeat, so those in which nothing was found are remembered. */
const REPEATING: readonly SignaturePart[] = ['name', 'header', 'agent']
const MAX_CLEAN = 2048
const MAX_CLEAN_LENGTH = 256
/** How much a NUL weighs. */
const FAULT_WEIGHT = 0.75
/** Many words, values or levels are no attack; the finding says that not all of them were looked at. */
const LIMIT_WEIGHT = 0.3
/** What the model thinks less likely is a word of a text, whatever signature it is one of. */
const LEAST_PROBABILITY = 0.4
/** A hint that the model rejects is no reason. */
const LEAST_SCORE = 0.3
const NOTHING: Inspection = Object.freeze({
  score: 0,
  class: undefined,
  attack: false,
  reasons: Object.freeze([]),
})

/** Compiles an inspector; do it once at boot. @throws PARAPET_ANOMALY_GUARD_INVALID_ARGUMENT */
export function createInspector(settings: InspectorSettings = {}): Inspector {
  const {
    threshold = 0.7,
    fields = {},
    without = [],
    maxDepth = 100,
    maxValues = 50_000,
  } = settings
  refuse('without', findWithoutProblem(without))
  refuse('fields', findFieldsProblem(fields))
  const shared = {
    hasProtocol: !without.includes('protocol'),
    matcher: matcherOf(without, threshold),
    lookup: compileFields(fields),
    threshold,
    clean: new Map(REPEATING.map((part) => [part, new Set<string>()])),
  }
  return {
    inspect(parts) {
      const found = new Findings(shared)
      walkRequest(parts, { maxDepth, maxValues }, found)
      return found.result()
    },
  }
}

function refuse(name: string, problem: string | undefined): void {
  if (problem !== undefined) {
    throw new PARAPET_ANOMALY_GUARD_INVALID_ARGUMENT(
      'settings of an inspector',
      `"${name}" ${problem}`,
    )
  }
}

const matchers = new Map<string, Matcher>()

/** A matcher keeps nothing of a request, so routes that look for the same classes share one. */
function matcherOf(without: readonly AttackClass[], threshold: number): Matcher {
  const skipped = new Set<string>(without)
  const key = [threshold, ...[...skipped].toSorted()].join()
  const signatures = allSignatures.filter(({ id }) => !skipped.has(classOf(id)))
  const found = matchers.get(key) ?? new Matcher(signatures, isLikely, threshold)
  matchers.set(key, found)
  return found
}

/** Two plain words in a row, as people write; a payload alone has none but those of SQL. */
const PROSE =
  /(?:^|\s)(?!(?:or|and|not|is)\s(?:true|false|null|not)|(?:select|union|insert|update|drop|delete)\s)[a-z]{2,20}(?:'[a-z]{1,2})?[,.:;]?\s[a-z]{2,20}(?:'[a-z]{1,2})?[,.:?!]?(?:\s|$)/
const AROUND = 56

/** A signature in the middle of prose is an attack only if the model thinks so too. */
function isLikely(text: string, at: number): boolean {
  const around = text.slice(Math.max(0, at - AROUND), at + AROUND)
  return !PROSE.test(around) || attackProbability(text, at) >= LEAST_PROBABILITY
}

interface Shared {
  readonly hasProtocol: boolean
  readonly matcher: Matcher
  readonly lookup: FieldLookup | undefined
  readonly threshold: number
  /** By part, because an agent may have what is no finding in a name. */
  readonly clean: ReadonlyMap<SignaturePart, Set<string>>
}

/** What was found in one request. */
class Findings implements Visitor {
  readonly #shared: Shared
  #findings: Finding[] | undefined

  constructor(shared: Shared) {
    this.#shared = shared
  }

  value(value: string, place: Place): void {
    const { lookup, clean } = this.#shared
    const { part } = place
    const treatment = lookup?.(locationOf(place))
    if (treatment === 'skip') return
    if (treatment === 'base64') for (const text of decodeBase64(value)) this.#look(text, place)
    const known = clean.get(part)
    if (known?.has(value) === true) return
    if (!this.#look(value, place) || known === undefined) return
    if (value.length > MAX_CLEAN_LENGTH) return
    if (known.size >= MAX_CLEAN) known.clear()
    known.add(value)
  }

  limit(rule: string, place: Place): void {
    this.#note(rule, place, LIMIT_WEIGHT)
  }

  result(): Inspection {
    if (this.#findings === undefined) return NOTHING
    const reasons = this.#findings.toSorted((a, b) => b.score - a.score).slice(0, MAX_REASONS)
    const [first] = reasons as [Finding]
    const attack = first.score >= this.#shared.threshold
    return { score: first.score, class: first.class, attack, reasons }
  }

  /** @returns whether nothing was found. */
  #look(value: string, place: Place): boolean {
    const folded = foldValue(value)
    const match = this.#shared.matcher.match(folded, place.part)
    if (folded.hasNul && place.part !== 'body') this.#note('protocol.nul', place, FAULT_WEIGHT)
    if (match.exhausted) this.limit('protocol.dense', place)
    const { best } = match
    if (best === undefined) return !folded.hasNul && !match.exhausted
    const score = this.#scoreOf({ ...match, text: folded.spaced ?? match.text }, best.weight)
    if (score < LEAST_SCORE) return false
    this.#add({ class: classOf(best.id), rule: best.id, location: locationOf(place), score })
    return false
  }

  /** A hint counts as much as the model confirms it; what is an attack by itself needs no model. */
  #scoreOf({ text, at }: Match, weight: number): number {
    if (weight >= this.#shared.threshold) return weight
    const probability = attackProbability(text, at)
    return weight + (1 - weight) * Math.max(0, 2 * probability - 1)
  }

  #note(rule: string, place: Place, score: number): void {
    if (!this.#shared.hasProtocol) return
    this.#add({ class: 'protocol', rule, location: locationOf(place), score })
  }

  #add(finding: Finding): void {
    this.#findings ??= []
    if (this.#findings.length < 4 * MAX_REASONS) this.#findings.push(finding)
  }
}

function classOf(id: string): AttackClass {
  return id.slice(0, id.indexOf('.')) as AttackClass
}

function locationOf({ root, names, part }: Place): string {
  const location = names.length === 0 ? root : `${root}.${names.join('.')}`
  const whole = part === 'name' ? `${location} (name)` : location
  // oxlint-disable-next-line no-control-regex -- no control character belongs in a log
  return whole.slice(0, MAX_LOCATION).replaceAll(/[\0-\x1f\x7f]/g, ' ')
}
