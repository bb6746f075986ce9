/** Which step of abuse a refusal is. */

/** What a refusal of a key means. `undefined`: nothing new. */
export type AbuseStep = 'exceeded' | 'abused' | 'contain' | undefined

/** Where the steps begin. */
export interface AbuseLimits {
  readonly factor: number
  readonly containAttempts: number
}

/**
 * Finds the step that the refusal with this number in its window reaches. Each step is reached once in a
 * window, so that a flood emits few events.
 *
 * @param refusals only refused requests: a limit may be large, and be counted in other units.
 * @param limit the smallest limit of the tier that the key exceeded.
 */
export function abuseStep(refusals: number, limit: number, limits: AbuseLimits): AbuseStep {
  if (refusals === 1) return 'exceeded'
  if (refusals === limits.containAttempts) return 'contain'
  const abused = Math.max(2, limit * (limits.factor - 1) + 1)
  return refusals === abused && abused < limits.containAttempts ? 'abused' : undefined
}
