/** What the behaviour score takes and returns. */

/** One finished request, or one event that counts as one. */
export interface Outcome {
  /** Who: a principal (`p:alice`) or an address, /64 for IPv6 (`a:192.0.2.1`). Kept only as a hash. */
  readonly key: string
  /** Milliseconds since the epoch. */
  readonly atMs: number
  readonly address?: string | undefined
  /** The route pattern, such as `/users/:id`; `undefined` if no route matched. */
  readonly route?: string | undefined
  readonly method?: string | undefined
  readonly statusCode: number
  readonly bytesOut?: number | undefined
  readonly durationMs?: number | undefined
  /** A failed login or a wrong second factor. */
  readonly failedAuthentication?: boolean | undefined
  readonly userAgent?: string | undefined
  /** ISO 3166 code of the country of the address, if geo rules know it. */
  readonly country?: string | undefined
  /**
   * The client is contained: the request is scored, but never learnt. Do not pass a request that this
   * plugin itself refused; its answer says nothing about the client.
   */
  readonly contained?: boolean | undefined
  /** Values of the user's own features, by name. */
  readonly values?: Readonly<Record<string, number>> | undefined
}

/** A feature of the user's own: how the values of one window become one number. */
export interface FeatureDefinition {
  /** The name in {@link Outcome.values}. */
  readonly name: string
  /** `sum` and `max` over the window, or the `last` value. @default 'sum' */
  readonly combine?: 'sum' | 'max' | 'last'
  /** Heavy-tailed values, such as bytes or counts, are compared by their logarithm. @default true */
  readonly logarithmic?: boolean
}

export type AnomalySeverity = 'low' | 'medium' | 'high' | 'critical'

/** What to do about an anomaly; it is advice, and containment decides. */
export type RecommendedAction = 'monitor' | 'investigate' | 'limit' | 'block-address'

/** How far the model is: too few samples to score, scores that cause nothing, scores that count. */
export type LearningPhase = 'cold' | 'shadow' | 'ready'

/** The part of one feature in a score. */
export interface FeatureShare {
  readonly feature: string
  /** The value in its own unit. */
  readonly value: number
  /** How far the value is from the median of what was learnt, in robust standard deviations. */
  readonly deviation: number
  /** The 5th and 95th percentile of what was learnt, in the unit of `value`. */
  readonly usual: readonly [low: number, high: number]
  /** Part of the score that this feature explains; all shares together are 1. May be negative. */
  readonly share: number
}

/** The score of one outcome. */
export interface BehaviourScore {
  /** The anomaly score of Liu, Ting and Zhou: about 0.5 is usual, near 1 is an anomaly. */
  readonly score: number
  /** From where on a score is an anomaly: set by `contamination`. */
  readonly threshold: number
  readonly anomalous: boolean
  readonly phase: LearningPhase
}

/** An anomaly: an outcome whose score reaches the threshold. */
export interface BehaviourAnomaly extends BehaviourScore {
  readonly severity: AnomalySeverity
  readonly recommendedAction: RecommendedAction
  /** The features with the largest shares first, at most 3. */
  readonly features: readonly FeatureShare[]
}

/** The drift of the stream against what the present model learnt. */
export interface DriftMetric {
  /** Population stability index, the largest over the features: below 0.1 stable, above 0.25 drift. */
  readonly index: number
  /** The feature with the largest index; `undefined` before the model is ready. */
  readonly feature: string | undefined
  /** Share of recent scores above the threshold; near `contamination` if all is well. */
  readonly anomalyRate: number
}

/** What an operator sees of the scorer. */
export interface BehaviourModel {
  readonly phase: LearningPhase
  /** How many keys are tracked. */
  readonly size: number
  readonly drift: DriftMetric
  /**
   * The score of a key now, without counting anything; `undefined` if there is no model, or nothing to
   * score. A principal is `p:` and its id, an address `a:` and the address.
   */
  scoreOf(key: string, atMs: number): BehaviourScore | undefined
  /** Forgets what is known of a key. What the model learnt of it contains no identity. */
  forget(key: string): void
  /** The model in the versioned binary format, without any row it learnt from; `undefined` while cold. */
  save(): Uint8Array | undefined
  /** Replaces the model. @throws PARAPET_ANOMALY_GUARD_INVALID_MODEL damaged, or of other features. */
  load(model: Uint8Array): void
}

/** Scores behaviour by key, and learns from it. Pure: no timer, no I/O, time comes with the outcome. */
export interface BehaviourScorer extends BehaviourModel {
  /**
   * Counts the outcome, scores its key and learns. Costs a few microseconds; the work of learning is
   * left to {@link BehaviourScorer.work}.
   *
   * @returns an anomaly if the phase is `shadow` or `ready` and the score reaches the threshold. Act on it
   *   only if its `phase` is `ready`.
   */
  observe(outcome: Outcome): BehaviourAnomaly | undefined
  /** Does at most 1 ms of outstanding learning. @returns true if more is left: call again by setImmediate. */
  work(): boolean
}

/** Settings of a scorer. */
export interface BehaviourSettings {
  /** Length of the sliding window. @default 60000 */
  readonly windowMs?: number
  /** How many keys are tracked at most; the stalest of the least known is dropped. @default 100000 */
  readonly maxKeys?: number
  /** The user's own features. @default [] */
  readonly features?: readonly FeatureDefinition[]
  /** @default 100 */
  readonly trees?: number
  /** Rows for each tree; several sizes are used in turn. @default [256] */
  readonly sampleSizes?: readonly number[]
  /** The share of learnt traffic that counts as anomalous. @default 0.001 */
  readonly contamination?: number
  /** How many rows the sliding buffer holds. @default 8192 */
  readonly bufferRows?: number
  /** How many rows are learnt before scores count. @default 2048 */
  readonly shadowRows?: number
  /** How many rows of one key are learnt in one window at most. @default 8 */
  readonly maxRowsPerKey?: number
  /** Makes the model reproducible; give a secret random number in production. @default random */
  readonly seed?: number
}
