/** Tells the application which access has ended, for connections that outlive a request. */
import type { Revocation } from './messages.ts'
import type { RevocableToken } from './revocation-list.ts'

/** Access that has ended. The members that do not apply are `null`. Frozen. */
export interface EndedAccess {
  readonly scope: 'token' | 'session' | 'user' | 'everyone'
  readonly tokenId: string | null
  readonly sessionId: string | null
  readonly userId: string | null
  /** Whether it ends the access of a token: `request.sessions` of the request that connected. */
  readonly includes: (token: RevocableToken) => boolean
}

/** What it throws is logged. */
export type EndedListener = (ended: EndedAccess) => void

/** See {@link createEndedListeners}. */
export interface EndedListeners {
  /** @returns a function that stops listening. */
  on(listener: EndedListener): () => void
  tell(revocation: Revocation): void
}

/** @param onError gets what a listener throws. */
export function createEndedListeners(onError: (error: unknown) => void): EndedListeners {
  const listeners = new Set<EndedListener>()
  return {
    on(listener) {
      listeners.add(listener)
      return () => void listeners.delete(listener)
    },
    tell(revocation) {
      if (listeners.size === 0) return
      const ended = endedBy(revocation)
      for (const listener of listeners) {
        try {
          listener(ended)
        } catch (error) {
          onError(error)
        }
      }
    },
  }
}

function endedBy(revocation: Revocation): EndedAccess {
  const { kind } = revocation
  return Object.freeze({
    scope: kind === 'fleet' ? 'everyone' : kind,
    tokenId: kind === 'token' ? revocation.id : null,
    sessionId: kind === 'session' ? revocation.id : null,
    userId: kind === 'user' ? revocation.id : null,
    includes: ({ tokenId, sessionId, user, epochs }: RevocableToken) => {
      if (kind === 'fleet') return epochs.fleet < revocation.epoch
      if (kind === 'user') return user.id === revocation.id && epochs.user < revocation.epoch
      return revocation.id === (kind === 'token' ? tokenId : sessionId)
    },
  })
}
