/** What an instance has admitted alone, for the counters on Redis. */
import type { Policy } from '../limits/policy.ts'
import type { MemoryLimits } from './memory-limits.ts'
import type { Usage } from './redis-limits.ts'

/** Keys in one call when counters are merged. */
const MERGE_KEYS = 50

/**
 * Takes the uses out of local counters, a batch at a time.
 *
 * @param policies the policies of the fleet, by local ones.
 */
export function* takeUses(
  local: MemoryLimits,
  policies: WeakMap<Policy, Policy>,
): Generator<Usage[]> {
  let batch: Usage[] = []
  for (const [id, entry] of local.entries()) {
    const { state, policy: counted } = entry
    const policy = policies.get(counted)
    if (policy === undefined || (state.full.length === 0 && state.times.length === 0)) continue
    batch.push({ id, policy, counted, state: structuredClone(state) })
    local.forgetUse(entry)
    if (batch.length < MERGE_KEYS) continue
    yield batch
    batch = []
  }
  if (batch.length > 0) yield batch
}
