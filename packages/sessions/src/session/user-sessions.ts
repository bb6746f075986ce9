/** The list of a user's sessions: a set of ids in the store, which the store may lose. */
import type { SessionContext } from './context.ts'
import { userSessionsKey } from './record.ts'

/** The capacity of a set: the largest limit of sessions, and those that are not removed yet. */
const MAX_MEMBERS = 2000
/** A member that marks a list as incomplete. It is no session id. */
const INCOMPLETE = 'incomplete'

type ListContext = Pick<SessionContext, 'store' | 'lifetimes'>

/** Adds a session to the list of its user. */
export function addToList(
  { store, lifetimes }: ListContext,
  userId: string,
  member: string,
): Promise<{ readonly added: boolean; readonly size: number }> {
  const bounds = { ttlMs: lifetimes.refreshAbsoluteMs, maxMembers: MAX_MEMBERS }
  return store.addMember(userSessionsKey(userId), member, bounds)
}

/** Adds a session that was in the list before. If it is missing, the list may miss others as well. */
export async function restoreToList(
  context: ListContext,
  userId: string,
  sessionId: string,
): Promise<void> {
  const { added } = await addToList(context, userId, sessionId)
  if (added) await addToList(context, userId, INCOMPLETE)
}

/** The list of a user's sessions, ended ones included. */
export interface SessionList {
  readonly ids: readonly string[]
  /** `false`: the store lost the list since these sessions began. */
  readonly isComplete: boolean
}

/** Reads the list of a user's sessions. */
export async function readList({ store }: ListContext, userId: string): Promise<SessionList> {
  const members = await store.members(userSessionsKey(userId))
  const ids = members.filter((member) => member !== INCOMPLETE)
  return { ids, isComplete: ids.length === members.length }
}
