/** Decides, where a session starts, whether the account may have one. */
import {
  PARAPET_SESSIONS_ACCOUNT_LOCKED,
  PARAPET_SESSIONS_PASSWORD_RESET_REQUIRED,
} from '../errors.ts'
import { isLockedAt, type AccountStates } from './account-state.ts'

/** The part of a proof that is read here. */
interface ShownProof {
  readonly amr: readonly string[]
  readonly acr?: string
}

/** See {@link createAccountGate}. Methods reject with the storage's error. */
export interface AccountGate {
  /**
   * Only someone who has just authenticated gets here, so the refusals reveal nothing to others.
   *
   * @returns `isFactorDue`: the session may do nothing but enrol a second factor.
   * @throws PARAPET_SESSIONS_ACCOUNT_LOCKED, PARAPET_SESSIONS_PASSWORD_RESET_REQUIRED
   */
  requireEntry(userId: string, proof: ShownProof): Promise<{ readonly isFactorDue: boolean }>
  isLocked(userId: string): Promise<boolean>
}

/** Creates the gate. */
export function createAccountGate(states: AccountStates, now: () => number): AccountGate {
  return {
    async requireEntry(userId, proof) {
      const state = await states.read(userId)
      if (isLockedAt(state, now())) throw lockedError(state.lock?.until ?? null, now())
      if (state.resetRequiredSince !== null && proof.amr.includes('pwd')) {
        throw new PARAPET_SESSIONS_PASSWORD_RESET_REQUIRED()
      }
      return { isFactorDue: state.secondFactorSince !== null && !isTwoFactors(proof) }
    },
    isLocked: async (userId) => isLockedAt(await states.read(userId), now()),
  }
}

/** Whether a proof has shown two factors: a level above the first, or without a level two methods. */
export function isTwoFactors({ amr, acr }: ShownProof): boolean {
  return acr === undefined ? amr.length > 1 : acr !== 'aal1'
}

function lockedError(until: number | null, now: number): Error {
  const error = new PARAPET_SESSIONS_ACCOUNT_LOCKED()
  if (until === null) return error
  const seconds = Math.max(1, Math.ceil((until - now) / 1000))
  return Object.assign(error, { headers: { 'retry-after': String(seconds) } })
}
