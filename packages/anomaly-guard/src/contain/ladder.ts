/** How long a containment lasts: longer with each repetition, and less again after a quiet time. */

/** The steps and their decay. */
export interface LadderSettings {
  /** The duration of the first containment, of the second, and so on; the last one repeats. */
  readonly stepsMs: readonly number[]
  /** A level is forgotten after so long without a containment. */
  readonly decayMs: number
}

/** What is remembered of a target. */
export interface Strikes {
  /** How many containments count. */
  readonly level: number
  /** When the last one was. */
  readonly at: number
}

/** The strikes that still count. */
function decayed({ level, at }: Strikes, now: number, decayMs: number): number {
  return Math.max(0, level - Math.floor(Math.max(0, now - at) / decayMs))
}

/** The step of a containment that begins now. @returns its level and duration, and what to remember. */
export function climb(
  strikes: Strikes | undefined,
  now: number,
  { stepsMs, decayMs }: LadderSettings,
): { readonly level: number; readonly ttlMs: number; readonly strikes: Strikes } {
  const level = strikes === undefined ? 0 : decayed(strikes, now, decayMs)
  const step = Math.min(level, stepsMs.length - 1)
  return { level, ttlMs: stepsMs[step]!, strikes: { level: level + 1, at: now } }
}

/** Reads strikes as the store returns them. */
export function parseStrikes(text: string | null): Strikes | undefined {
  const [level, at] = (text ?? '').split(' ').map(Number)
  const isValid = Number.isSafeInteger(level) && Number.isSafeInteger(at) && level! >= 0
  return isValid ? { level: Math.min(level!, 1000), at: at! } : undefined
}

/** The text of strikes in the store. */
export function formatStrikes({ level, at }: Strikes): string {
  return `${level} ${at}`
}
