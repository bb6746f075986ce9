/** Lines that are answered by places in the source alone. */
import { hitsOf, type Facts } from '../facts/facts.ts'
import { faultsOf, failOr, listed, manual, pass, type Fault, type Outcome } from './outcome.ts'

/** Fails at places that are certain, names those that a person must look at, and passes without any. */
export function judgeSource(
  facts: Facts,
  rules: readonly string[],
  what: string,
  others: readonly Fault[] = [],
): Outcome {
  const { source } = facts
  const hits = hitsOf(facts, ...rules)
  const faults = [...others, ...faultsOf(hits)]
  if (source === undefined)
    return failOr(faults, manual(`no source was given: review it for ${what}`))
  const doubtful = hits.filter(({ certainty }) => certainty === 'review').map(({ place }) => place)
  if (faults.length === 0 && doubtful.length > 0) {
    return manual(`review ${what} at ${listed(doubtful)}`)
  }
  const unread = source.skipped.length > 0 ? `; not read: ${listed(source.skipped)}` : ''
  return failOr(faults, pass(`none of ${source.files} files and handlers has ${what}${unread}`))
}
