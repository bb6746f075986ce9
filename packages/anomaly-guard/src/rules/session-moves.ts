/**
 * Sessions that two clients use at once: the mark of a stolen token. A changed address alone is a phone that
 * leaves the Wi-Fi; another user agent alone is an update of the browser.
 */

/** See {@link createSessionMoves}. */
interface SessionUse {
  readonly sessionId: string
  readonly atMs: number
  readonly address: string
  readonly userAgent: string
  /** ISO 3166 code, where it is known. */
  readonly country: string | undefined
}

/** Follows who uses which session. */
export interface SessionMoves {
  /**
   * Learns a use of a session.
   *
   * @returns `client` if another user agent at another address uses it within half an hour, `client country`
   *   if the country has changed as well; `undefined` for ordinary use.
   */
  observe(use: SessionUse): string | undefined
  readonly size: number
}

const RECENT_MS = 1_800_000
/** Within so long, nobody gets to another country; a VPN that is switched on does. */
const TRAVEL_MS = 60_000

interface LastUse {
  atMs: number
  address: string
  userAgent: string
  country: string | undefined
}

/** Creates the tracker. @param maxSessions the one unused for longest is forgotten first. @default 50 000 */
export function createSessionMoves(maxSessions = 50_000): SessionMoves {
  const uses = new Map<string, LastUse>()
  return {
    observe({ sessionId, atMs, address, userAgent, country }) {
      const last = uses.get(sessionId)
      if (last === undefined) {
        if (uses.size >= maxSessions) uses.delete(uses.keys().next().value!)
        uses.set(sessionId, { atMs, address, userAgent, country })
        return undefined
      }
      const isOther = last.address !== address && last.userAgent !== userAgent
      const isRecent = atMs - last.atMs < RECENT_MS
      const isAbroad =
        country !== undefined && last.country !== undefined && country !== last.country
      // A copied user agent: nobody is in another country within minutes and then goes on as before.
      const isTorn = isAbroad && last.address !== address && atMs - last.atMs < TRAVEL_MS
      const moved = (isOther && (isRecent || isAbroad)) || isTorn
      if (atMs - last.atMs > RECENT_MS / 30) {
        // Renews the place in the order of eviction, but not with every request.
        uses.delete(sessionId)
        uses.set(sessionId, last)
      }
      Object.assign(last, { atMs, address, userAgent, country: country ?? last.country })
      if (!moved) return undefined
      return isAbroad ? 'client country' : 'client'
    },
    get size() {
      return uses.size
    },
  }
}
