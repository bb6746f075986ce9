/** Scores the behaviour of each key against what the service usually sees, and learns what is usual. */
import { createRandom } from '../forest/random.ts'
import { StreamingForest } from '../forest/stream.ts'
import { createFeatureSet, type FeatureSet } from './features.ts'
import { KeyTable, LAST_WINDOW, type RecordPlace } from './key-table.ts'
import { createLearningGate } from './learning-gate.ts'
import { createProfile, type Profile } from './profile.ts'
import * as record from './record.ts'
import { readModel, writeModel } from './saved-model.ts'
import { createSequences } from './sequences.ts'
import { recommend, severityOf } from './severity.ts'
import { createScoreThreshold, type ScoreThreshold } from './threshold.ts'
import type {
  BehaviourAnomaly,
  BehaviourScore,
  BehaviourScorer,
  BehaviourSettings,
  DriftMetric,
  FeatureDefinition,
  LearningPhase,
  Outcome,
} from './types.ts'

/** What is usual is measured again after so many learnt rows. */
const PROFILE_ROWS = 2048
/** Requests of one key and window that teach the order of routes. */
const SEQUENCE_REQUESTS = 32

/** Creates a scorer with an empty model. */
export function createBehaviourScorer(settings: BehaviourSettings = {}): BehaviourScorer {
  return new Scorer(settings)
}

class Scorer implements BehaviourScorer {
  readonly #windowMs: number
  readonly #contamination: number
  readonly #shadowRows: number
  readonly #maxRowsPerKey: number
  readonly #own: readonly FeatureDefinition[]
  readonly #set: FeatureSet
  readonly #table: KeyTable
  readonly #stream: StreamingForest
  readonly #profile: Profile
  readonly #profileOf: Profile['of'] = (feature) => this.#profile.of(feature)
  readonly #sequences = createSequences()
  readonly #gate = createLearningGate()
  readonly #anomalies = createLearningGate()
  #threshold: ScoreThreshold
  /** The features of the key at hand, in their own units, and as a row of the forest. */
  readonly #values: Float64Array
  readonly #row: Float64Array

  constructor(settings: BehaviourSettings) {
    const { windowMs = 60_000, maxKeys = 100_000, features: own = [] } = settings
    const { contamination = 0.001, shadowRows = 2048, maxRowsPerKey = 8 } = settings
    const { bufferRows = 8192, trees = 100, sampleSizes = [256] } = settings
    const seed = settings.seed ?? Math.floor(Math.random() * Number.MAX_SAFE_INTEGER)
    this.#windowMs = windowMs
    this.#contamination = contamination
    this.#shadowRows = shadowRows
    this.#maxRowsPerKey = maxRowsPerKey
    this.#own = own
    this.#set = createFeatureSet(own)
    const features = this.#set.names.length
    const random = createRandom(seed + 1)
    this.#table = new KeyTable({ maxKeys, recordWords: record.recordWordsOf(own), random })
    this.#stream = new StreamingForest({ features, trees, sampleSizes, bufferRows, seed })
    this.#profile = createProfile(features)
    this.#threshold = createScoreThreshold(contamination)
    this.#values = new Float64Array(features)
    this.#row = new Float64Array(features)
  }

  observe(outcome: Outcome): BehaviourAnomaly | undefined {
    const place = this.#count(outcome)
    const { forest } = this.#stream
    const score = forest && this.#set.score(forest, this.#row, this.#profileOf)
    const threshold = this.#threshold.value
    if (outcome.contained !== true) this.#learn(place, score, outcome)
    if (forest === undefined || score === undefined || score < threshold) return undefined
    const severity = severityOf(score, threshold)
    const [failedAuthentications, bytesOut] = [this.#values[2]!, this.#values[3]!]
    return {
      ...this.#scored(score, threshold),
      severity,
      recommendedAction: recommend(severity, { failedAuthentications, bytesOut }),
      features: this.#set.explain(forest, this.#row, this.#profileOf),
    }
  }

  work(): boolean {
    if (this.#profile.hasWork) this.#profile.work(this.#stream.buffer)
    else this.#stream.work()
    return this.#profile.hasWork || this.#stream.hasWork
  }

  scoreOf(key: string, atMs: number): BehaviourScore | undefined {
    const place = this.#table.find(key)
    if (place === undefined || this.#stream.forest === undefined) return undefined
    record.rollRecord(place, Math.floor(atMs / this.#windowMs), this.#own.length)
    this.#read(place, atMs, record.isUnusualHour(place, atMs))
    // Of what lies a window back nothing is left to be scored.
    if (this.#values[0]! < 0.5) return undefined
    const score = this.#set.score(this.#stream.forest, this.#row, this.#profileOf)
    return this.#scored(score, this.#threshold.value)
  }

  get phase(): LearningPhase {
    if (this.#stream.forest === undefined) return 'cold'
    return this.#stream.learnt < this.#shadowRows ? 'shadow' : 'ready'
  }

  get size(): number {
    return this.#table.size
  }

  get drift(): DriftMetric {
    const indexes = this.#set.names.map((_, feature) => this.#profile.driftOf(feature))
    const index = Math.max(...indexes)
    const feature = index > 0 ? this.#set.names[indexes.indexOf(index)] : undefined
    return { index, feature, anomalyRate: this.#anomalies.rate }
  }

  forget(key: string): void {
    this.#table.remove(key)
  }

  save(): Uint8Array | undefined {
    const { forest, learnt } = this.#stream
    if (forest === undefined) return undefined
    const { names } = this.#set
    const profiles = names.flatMap((_, feature) => this.#profile.of(feature) ?? [])
    return writeModel({ forest, names, learnt, threshold: this.#threshold.value, profiles })
  }

  load(model: Uint8Array): void {
    const saved = readModel(model, this.#set.names)
    this.#stream.adopt(saved.forest, saved.learnt)
    this.#threshold = createScoreThreshold(this.#contamination, saved.threshold)
    this.#profile.adopt(saved.profiles)
  }

  #scored(score: number, threshold: number): BehaviourScore {
    return { score, threshold, anomalous: score >= threshold, phase: this.phase }
  }

  #count(outcome: Outcome): RecordPlace {
    const place = this.#table.open(outcome.key)
    const window = Math.floor(outcome.atMs / this.#windowMs)
    if (place.isNew) place.words[place.at + LAST_WINDOW] = window
    else record.rollRecord(place, window, this.#own.length)
    const unusualHour = record.isUnusualHour(place, outcome.atMs)
    const previous = record.lastRouteOf(place)
    const route = this.#sequences.numberOf(outcome.route)
    const surprise = this.#sequences.surpriseOf(previous, route)
    record.countOutcome(place, { outcome, route, surprise }, this.#own)
    const teaches = record.presentRequestsOf(place) <= SEQUENCE_REQUESTS
    if (teaches && outcome.contained !== true) this.#sequences.learn(previous, route)
    this.#read(place, outcome.atMs, unusualHour)
    return place
  }

  #read(place: RecordPlace, atMs: number, unusualHour: boolean): void {
    const elapsed = (atMs % this.#windowMs) / this.#windowMs
    record.readFeatures(place, { elapsed, unusualHour }, this.#own, this.#values)
    this.#set.transform(this.#values, this.#row)
  }

  /** Learns a few rows of each key and window: those after 1, 2, 4, 8… requests. */
  #learn(place: RecordPlace, score: number | undefined, { key, atMs }: Outcome): void {
    const requests = record.presentRequestsOf(place)
    if ((requests & (requests - 1)) !== 0) return
    if (!record.claimLearning(place, this.#maxRowsPerKey)) return
    this.#profile.count(this.#row)
    const isAnomalous = score !== undefined && score >= this.#threshold.value
    const voter = `${Math.floor(atMs / this.#windowMs)} ${key}`
    this.#anomalies.accepts(isAnomalous)
    const isExtreme = score !== undefined && this.#set.isExtreme(this.#row, this.#profileOf)
    const isAccepted = this.#gate.accepts(isAnomalous || isExtreme, voter)
    // The first forests know little, so their scores say little about the tail.
    const isKnown = score !== undefined && this.#stream.learnt > this.#shadowRows / 2
    if (isKnown && isAccepted) this.#threshold.add(score)
    if (!isAccepted) return
    this.#stream.learn(this.#row)
    const { learnt } = this.#stream
    const every = learnt < PROFILE_ROWS ? PROFILE_ROWS / 8 : PROFILE_ROWS
    if (learnt % every === 0) this.#profile.renew()
  }
}
