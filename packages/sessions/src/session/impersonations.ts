/** The sessions in which an operator acts as a user, so that they end with the access of the operator. */
import type { SessionContext } from './context.ts'
import { endSession, type EndedSession } from './end-session.ts'

/** An operator has no more at once. */
const MAX_SESSIONS = 100

type ImpersonationContext = Pick<SessionContext, 'store'>

/** Notes a session of an operator. */
export async function noteImpersonation(
  { store }: ImpersonationContext,
  operatorId: string,
  sessionId: string,
  ttlMs: number,
): Promise<void> {
  await store.addMember(keyOf(operatorId), sessionId, { ttlMs, maxMembers: MAX_SESSIONS })
}

/** Ends every session in which an operator acts as somebody. */
export async function endImpersonationsBy(
  context: SessionContext,
  operatorId: string,
): Promise<EndedSession[]> {
  const ids = await context.store.members(keyOf(operatorId))
  const ended: EndedSession[] = []
  for (const id of ids) {
    const session = await endSession(context, id)
    await context.store.removeMember(keyOf(operatorId), id)
    if (session !== null) ended.push(session)
  }
  return ended
}

function keyOf(operatorId: string): string {
  return `sessions:impersonated-by:${operatorId}`
}
