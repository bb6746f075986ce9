/**
 * Which tokens have been used. A client that never got the answer to a refresh still has the previous
 * refresh token. It may ask again until the new access token has been used, which proves that the answer
 * arrived; afterwards the previous token can only be stolen.
 */
import { updateText, type Store } from '@parapet/kit'
import { PARAPET_SESSIONS_UNAVAILABLE } from '../errors.ts'

/** See {@link createTokenUses}. */
export interface TokenUses {
  /** Notes that an access token was used. Writes in the background, once for each token. */
  note(token: { readonly sessionId: string; readonly generation?: number }): void
  /** The newest generation of a session whose access token was used; 0: none since the login. */
  lastUsed(sessionId: string): Promise<number>
}

/** How many sessions this process remembers. Beyond it all are dropped, and written once more. */
const MAX_NOTED = 50_000

/** @param keepMs how long a use is remembered, in milliseconds: the idle lifetime of a session. */
export function createTokenUses(store: Store, keepMs: number): TokenUses {
  const noted = new Map<string, number>()

  async function write(sessionId: string, generation: number): Promise<void> {
    await updateText<void>(
      store,
      keyOf(sessionId),
      (text) =>
        Number(text ?? 0) >= generation
          ? { result: undefined }
          : { next: String(generation), ttlMs: keepMs, result: undefined },
      () => new PARAPET_SESSIONS_UNAVAILABLE(),
    )
  }

  return {
    note({ sessionId, generation = 0 }) {
      if (generation === 0 || (noted.get(sessionId) ?? 0) >= generation) return
      if (noted.size >= MAX_NOTED) noted.clear()
      noted.set(sessionId, generation)
      // While it is not written, the previous refresh token is accepted longer than it should be.
      write(sessionId, generation).catch(() => void noted.delete(sessionId))
    },
    lastUsed: async (sessionId) => Number((await store.get(keyOf(sessionId))) ?? 0),
  }
}

function keyOf(sessionId: string): string {
  return `sessions:used:${sessionId}`
}
