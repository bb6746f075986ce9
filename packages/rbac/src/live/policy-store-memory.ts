/** The policy store in memory. */
import { randomUUID } from 'node:crypto'
import {
  isSameState,
  type PolicyChange,
  type PolicyState,
  type PolicyStore,
} from './policy-store.ts'

/** Creates a policy store in memory, for a single instance and for tests. It is lost on restart. */
export function createMemoryPolicyStore(): PolicyStore {
  let state: PolicyState = { revision: 0, changeId: '', policy: null, grants: [] }
  return {
    load: async (known) => (isSameState(state, known) ? null : state),
    change: async (change, known, now) => {
      if (!isSameState(state, known)) return null
      const mark = { revision: known.revision + 1, changeId: randomUUID() }
      state = { ...applyChange(state, change, now), ...mark }
      return mark
    },
  }
}

function applyChange(state: PolicyState, change: PolicyChange, now: number): PolicyState {
  const grants = state.grants.filter(({ until }) => until > now)
  if (change.kind === 'publish') return { ...state, grants, policy: change.policy }
  const { principalId, role } = change.kind === 'grant' ? change.grant : change
  const others = grants.filter((each) => each.principalId !== principalId || each.role !== role)
  return { ...state, grants: change.kind === 'grant' ? [...others, change.grant] : others }
}
