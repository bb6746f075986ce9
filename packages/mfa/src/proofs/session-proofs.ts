/** The proofs that each session has shown, in the store. */
import { updateText, type Store } from '@parapet/kit'
import { PARAPET_MFA_BUSY } from '../errors.ts'
import type { Method } from '../events.ts'
import { hashText } from '../tokens/hash-text.ts'

/** What one session has shown. */
export interface SessionProof {
  /** `login`: what the login itself has proved; never stored. */
  readonly method: Method | 'device' | 'login'
  readonly aal: number
  readonly phishingResistant: boolean
  /** Milliseconds since the Unix epoch. */
  readonly provedAt: number
  /** For `device`: the id of the remembered device. */
  readonly deviceId?: string
  /** For `device`: the SHA-256 of its cookie. The proof counts only in requests with that cookie. */
  readonly cookieHash?: string
}

/** Reads and changes the proofs of sessions. */
export interface SessionProofs {
  /** The proofs of a session, at most one per method. */
  find(userId: string, sessionId: string): Promise<readonly SessionProof[]>
  /**
   * Adds a proof, in place of the session's earlier one by the same method.
   *
   * @param previousId the session that continues under the new id: it loses its proofs to the new one.
   */
  set(userId: string, sessionId: string, proof: SessionProof, previousId?: string): Promise<void>
  /** Whether a proof still counts by its age. */
  isCurrent(proof: SessionProof): boolean
  /** Removes proofs of every session of a user: all, or those for which `matches` is true. */
  clear(userId: string, matches?: (proof: SessionProof) => boolean): Promise<void>
}

type Row = readonly [sessionHash: string, proof: SessionProof]

const MAX_ROWS = 100

/**
 * Stores proofs. All proofs of one user are under one key, so that a reset removes them at once. A
 * user has at most 100; the oldest are dropped. Session ids are stored as hashes.
 *
 * @param ttlMs how long a proof counts.
 */
export function createSessionProofs(store: Store, ttlMs: number, now: () => number): SessionProofs {
  const isCurrent = ({ provedAt }: SessionProof): boolean => Math.abs(now() - provedAt) < ttlMs
  const rowsOf = (text: string | null): Row[] =>
    (text === null ? [] : (JSON.parse(text) as Row[])).filter(([, proof]) => isCurrent(proof))
  const change = (userId: string, edit: (rows: Row[]) => Row[]): Promise<void> =>
    updateText<void>(
      store,
      keyOf(userId),
      (text) => {
        const rows = edit(rowsOf(text)).slice(-MAX_ROWS)
        const next = rows.length === 0 ? null : JSON.stringify(rows)
        return next === text ? { result: undefined } : { next, ttlMs, result: undefined }
      },
      () => new PARAPET_MFA_BUSY(),
    )

  return {
    async find(userId, sessionId) {
      const text = await store.get(keyOf(userId))
      if (text === null) return []
      const hash = hashText(sessionId)
      return rowsOf(text).flatMap(([session, proof]) => (session === hash ? [proof] : []))
    },
    set(userId, sessionId, proof, previousId = sessionId) {
      const hash = hashText(sessionId)
      const previous = hashText(previousId)
      const isReplaced = ([session, { method }]: Row) => session === hash && method === proof.method
      return change(userId, (rows) => {
        const continued = rows.map(([session, each]): Row => [
          session === previous ? hash : session,
          each,
        ])
        return [...continued.filter((row) => !isReplaced(row)), [hash, proof]]
      })
    },
    isCurrent,
    async clear(userId, matches) {
      if (matches === undefined) await store.delete(keyOf(userId))
      else await change(userId, (rows) => rows.filter(([, proof]) => !matches(proof)))
    },
  }
}

function keyOf(userId: string): string {
  return `mfa:marks:${userId}`
}
