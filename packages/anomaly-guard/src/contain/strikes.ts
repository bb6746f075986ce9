/** How often each target was contained: in the store for the fleet, and here for the time the store takes. */
import { updateText, type Store } from '@parapet/kit'
import { climb, formatStrikes, parseStrikes, type LadderSettings, type Strikes } from './ladder.ts'

/** The step of a containment. */
type Step = ReturnType<typeof climb>

/** See {@link createStrikeBook}. */
export interface StrikeBookSettings {
  readonly store: Store
  readonly ladder: LadderSettings
  readonly onError: (error: unknown, what: string) => void
}

/** Remembers strikes. */
export interface StrikeBook {
  /** The next step of a target, as far as this instance knows. */
  peek(target: string, now: number): Step
  /** Takes the next step for the whole fleet; while the store is down, for this instance. */
  raise(target: string, now: number): Promise<Step>
}

const MAX_LOCAL = 100_000

/** Creates the book of one instance. */
export function createStrikeBook({ store, ladder, onError }: StrikeBookSettings): StrikeBook {
  const known = new Map<string, Strikes>()
  const remember = (target: string, strikes: Strikes): void => {
    known.delete(target)
    if (known.size >= MAX_LOCAL) known.delete(known.keys().next().value!)
    known.set(target, strikes)
  }
  const peek = (target: string, now: number): Step => climb(known.get(target), now, ladder)
  return {
    peek,
    async raise(target, now) {
      let step = peek(target, now)
      try {
        step = await updateText(
          store,
          `anomaly-guard:strikes:${target}`,
          (text) => {
            const next = climb(parseStrikes(text), now, ladder)
            const ttlMs = ladder.decayMs * (next.strikes.level + 1)
            return { result: next, next: formatStrikes(next.strikes), ttlMs }
          },
          () => new Error('too many instances raise the strikes of one target'),
        )
      } catch (error) {
        onError(error, 'count a repetition')
      }
      remember(target, step.strikes)
      return step
    },
  }
}
