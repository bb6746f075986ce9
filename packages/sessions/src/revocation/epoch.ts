/** One epoch, its stored text, and what it ends. */
import { PARAPET_SESSIONS_UNAVAILABLE } from '../errors.ts'

/** The epochs of the user and of the fleet at the time a token was issued or a session began. */
export interface TokenEpochs {
  readonly user: number
  readonly fleet: number
}

/** One epoch; stored as `<tokens>.<sessions>`, or with `.<kept>` behind it. */
export interface Epoch {
  /** Access tokens with a smaller number are invalid; their session can still be refreshed. */
  readonly tokens: number
  /** Sessions that began under a smaller number have ended. */
  readonly sessions: number
  /** The id of the only older session that continues; `null`: there is none. */
  readonly kept: string | null
}

/** The epochs of one user and of the fleet. */
export interface EpochPair {
  readonly user: Epoch
  readonly fleet: Epoch
}

/** The epoch of a store that has none. */
export const NONE: Epoch = { tokens: 0, sessions: 0, kept: null }
const FORM = /^(\d{1,16})\.(\d{1,16})(?:\.([\w-]{22}))?$/

/**
 * The epoch after a session started. It is a new object, so that it is written again and lives as long
 * as the session. Where there was none, older sessions have ended: the store may have lost an epoch.
 */
export function openedEpoch(epoch: Epoch, now: number): Epoch {
  return epoch.tokens === 0 ? { tokens: now, sessions: now, kept: null } : { ...epoch }
}

/** The epochs that a token issued now carries. */
export function tokenEpochsOf({ user, fleet }: EpochPair): TokenEpochs {
  return { user: user.tokens, fleet: fleet.tokens }
}

/** The epochs of a session that begins now, or that is valid now. */
export function birthOf({ user, fleet }: EpochPair): TokenEpochs {
  return { user: newestOf(user), fleet: newestOf(fleet) }
}

/**
 * Whether a session has ended that began under these epochs. An epoch that is older than the session
 * was lost and begun again, and with it the knowledge of what had ended.
 */
export function hasEnded(
  sessionId: string,
  began: TokenEpochs,
  { user, fleet }: EpochPair,
): boolean {
  return isOver(sessionId, began.user, user) || isOver(sessionId, began.fleet, fleet)
}

function isOver(sessionId: string, began: number, epoch: Epoch): boolean {
  if (began > newestOf(epoch)) return true
  return began < epoch.sessions && epoch.kept !== sessionId
}

function newestOf({ tokens, sessions }: Epoch): number {
  return Math.max(tokens, sessions)
}

/** Reads a stored epoch. @throws PARAPET_SESSIONS_UNAVAILABLE */
export function parseEpoch(text: string | null): Epoch {
  if (text === null) return NONE
  const [, tokens, sessions, kept = null] = FORM.exec(text) ?? []
  // Treating an unreadable epoch as zero would accept revoked tokens.
  if (tokens === undefined || sessions === undefined) throw new PARAPET_SESSIONS_UNAVAILABLE()
  return { tokens: Number(tokens), sessions: Number(sessions), kept }
}

/** Writes an epoch. */
export function formatEpoch({ tokens, sessions, kept }: Epoch): string {
  return kept === null ? `${tokens}.${sessions}` : `${tokens}.${sessions}.${kept}`
}
