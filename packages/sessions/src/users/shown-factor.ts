/** A second factor that a user has shown, and how it changes the proof of the login. */
import { requireProof, type SessionProof } from './user.ts'

/** A factor that was verified outside of this plugin, for instance by `app.mfa`. */
export interface ShownFactor {
  /** The methods shown. The session keeps those shown before. @see RFC 8176 */
  readonly amr: readonly string[]
  /** The level that was reached, for the claim `acr`. @default the level before @see RFC 9470 */
  readonly acr?: string
  /** Milliseconds since the Unix epoch. @default now */
  readonly authenticatedAt?: number
  /**
   * Called with the id of the new session before its tokens are sent. If it rejects, there is no new
   * session, and its error is the response.
   */
  readonly bind?: (sessionId: string) => Promise<void>
}

/** The proof after another factor. @throws PARAPET_SESSIONS_INVALID_ARGUMENT */
export function joinProofs(before: SessionProof, shown: ShownFactor, now: number): SessionProof {
  const { acr = before.acr, authenticatedAt } = shown
  const proof = requireProof(
    {
      amr: shown.amr,
      ...(acr === undefined ? undefined : { acr }),
      ...(authenticatedAt === undefined ? undefined : { authenticatedAt }),
    },
    now,
  )
  return { ...proof, amr: [...new Set([...before.amr, ...proof.amr])] }
}
