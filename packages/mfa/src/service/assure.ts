/** Lets sessions use proofs: under their own id, or under a new one, with new tokens. */
import {
  PARAPET_MFA_INVALID_ARGUMENT,
  PARAPET_MFA_PROOF_INSUFFICIENT,
  PARAPET_MFA_STEP_UP_REQUIRED,
} from '../errors.ts'
import type { FactorContext } from '../factors/context.ts'
import { requireProof, type MfaProof } from '../proofs/proof.ts'
import { requireText } from './arguments.ts'

/** Proofs that need a session with a new id; `true`: one uses it. */
const renewals = new WeakMap<MfaProof, boolean>()

/** Lets a session use a proof. See `assure` of {@link Mfa}. */
export async function assure(
  context: FactorContext,
  proof: MfaProof,
  sessionId: string,
): Promise<void> {
  requireProof(proof)
  requireText('session id', sessionId)
  if (renewals.has(proof) && sessionId === proof.sessionId) refuseRenewal('the id of the old one')
  const { accounts, sessionProofs } = context
  const { userId, method, phishingResistant, provedAt, epoch } = proof
  const aal = await findLevel(context, proof, sessionId)
  const kept = { method, aal, phishingResistant, provedAt }
  await sessionProofs.set(userId, sessionId, kept, proof.sessionId)
  // A change of factors starts a new epoch before it clears the proofs of sessions. A proof that was
  // written after that clearing is therefore found here.
  if ((await accounts.read(userId)).epoch !== epoch) {
    await sessionProofs.clear(
      userId,
      (each) => each.method === method && each.provedAt === provedAt,
    )
    throw new PARAPET_MFA_STEP_UP_REQUIRED()
  }
  if (renewals.has(proof)) renewals.set(proof, true)
}

/** What the response to a proof says of the session. */
export interface RenewedSession {
  /** The level that the session has reached. */
  readonly aal: number
  /** What `elevate` returned, for instance new tokens; `null`: the session goes on under its id. */
  readonly result: object | null
}

/**
 * Lets the session that has shown a factor use the proof. If `elevate` renews the session, the proof
 * counts under the new id only, so tokens that were stolen before are not lifted by it.
 *
 * @throws PARAPET_MFA_PROOF_INSUFFICIENT the session does not reach level 2. Nothing is stored.
 * @throws PARAPET_MFA_INVALID_ARGUMENT `elevate` did not pass the proof to a session with a new id.
 * @see OWASP ASVS 5.0, 7.2.4
 */
export async function renewSession(
  context: FactorContext,
  proof: MfaProof,
  sessionId: string,
  elevate: (() => Promise<object | null>) | undefined,
): Promise<RenewedSession> {
  const aal = await findLevel(context, proof, sessionId)
  if (aal < 2) throw new PARAPET_MFA_PROOF_INSUFFICIENT(proof.amr.join(', '))
  if (elevate !== undefined) {
    renewals.set(proof, false)
    const result = await elevate()
    if (result !== null) {
      if (renewals.get(proof) === false) refuseRenewal('no call')
      return { aal, result }
    }
    renewals.delete(proof)
  }
  await assure(context, proof, sessionId)
  return { aal, result: null }
}

/**
 * The level that a session reaches with a proof. A session keeps the level that it has, renewed by
 * one fresh factor.
 *
 * @see NIST SP 800-63B-4, section 2.2.3
 */
async function findLevel(
  { sessionProofs }: FactorContext,
  proof: MfaProof,
  sessionId: string,
): Promise<number> {
  const { userId, sessionId: previousId = sessionId } = proof
  const ids = [...new Set([sessionId, previousId])]
  const earlier = await Promise.all(ids.map((id) => sessionProofs.find(userId, id)))
  const counted = earlier.flat().filter(({ method }) => method !== 'device')
  return Math.max(proof.aal, ...counted.map(({ aal }) => aal))
}

function refuseRenewal(got: string): never {
  throw new PARAPET_MFA_INVALID_ARGUMENT(
    `the option "elevate" must call app.mfa.assure(proof, sessionId) with the id of a new session, got ${got}`,
  )
}
