/** The sessions of the fleet: begun, refreshed, listed and ended, each in atomic steps of the store. */
import type { Store } from '@parapet/kit'
import { randomId, type AccessTokens } from './access-tokens.ts'
import { isOver, tokenEpochsOf, type EpochPair, type Epochs } from './epochs.ts'
import { PARAPET_SESSIONS_UNAVAILABLE } from './errors.ts'
import { MAX_GENERATION, type RefreshToken, type RefreshTokens } from './refresh-tokens.ts'
import type { Revocations } from './revocations.ts'
import {
  decideRefresh,
  readRecord,
  remainingMs,
  writeRecord,
  type SessionLifetimes,
  type SessionRecord,
} from './session-records.ts'
import {
  requireProof,
  requireUser,
  type Device,
  type LoginProof,
  type SessionUser,
} from './user.ts'

/** What a login or a refresh hands out. */
export interface SessionGrant {
  readonly sessionId: string
  readonly userId: string
  readonly accessToken: string
  /** Milliseconds since the Unix epoch. */
  readonly accessExpiresAt: number
  readonly refreshToken: string
  /** When the refresh token is worth nothing any more, unless it is used before. */
  readonly refreshExpiresAt: number
}

/** One session as its owner sees it. */
export interface SessionView extends Device {
  readonly id: string
  readonly startedAt: number
  readonly lastSeenAt: number
  readonly expiresAt: number
  readonly amr: readonly string[]
}

/** A session that has just ended. */
export interface EndedSession {
  readonly sessionId: string
  readonly userId: string
}

/** The answer to a refresh. */
export type RefreshAnswer =
  | {
      readonly verdict: 'rotate' | 'repeat'
      readonly grant: SessionGrant
      readonly generation: number
    }
  /** The family is dead by now. */
  | {
      readonly verdict: 'reuse' | 'rollback'
      readonly record: SessionRecord
      readonly token: RefreshToken
    }
  | { readonly verdict: 'unknown' | 'expired' | 'ended' }

/** Looks a user up as they are now; `null`: gone, or not to be let in. */
export type FindUser = (userId: string) => Promise<SessionUser | null>

/** What a {@link SessionBook} needs. */
export interface SessionBookSettings {
  readonly store: Store
  readonly now: () => number
  readonly lifetimes: SessionLifetimes
  readonly maxSessionsPerUser: number
  readonly findUser: FindUser | undefined
  readonly epochs: Epochs
  readonly accessTokens: AccessTokens
  readonly refreshTokens: RefreshTokens
  readonly revocations: Revocations
}

/** Room for those that ended and were not taken off the list. */
const MEMBER_SLACK = 1000
/** Racers that a rotation may lose against; each loss shows a newer record. */
const MAX_TRIES = 8
const MAX_AGENT_LENGTH = 200

/** The book. Every method throws the store's error when the store is down. */
export class SessionBook {
  readonly #to: SessionBookSettings

  constructor(settings: SessionBookSettings) {
    this.#to = settings
  }

  /** Begins a session. @throws PARAPET_SESSIONS_INVALID_ARGUMENT, PARAPET_SESSIONS_TOKEN_TOO_LARGE */
  async start(
    given: SessionUser,
    proof: LoginProof = {},
    device: Device = {},
  ): Promise<SessionGrant> {
    const { store, lifetimes, maxSessionsPerUser, epochs } = this.#to
    const user = requireUser(given)
    const at = this.#to.now()
    const sessionId = randomId()
    const pair = await epochs.read(user.id)
    const record: SessionRecord = {
      user,
      proof: requireProof(proof, at),
      born: tokenEpochsOf(pair),
      startedAt: at,
      generation: 0,
      rotatedAt: at,
      device: deviceOf(device),
    }
    // The token first: a user with too many roles must not leave a session behind.
    const grant = await this.#grant(sessionId, record, pair)
    await store.set(recordKey(sessionId), writeRecord(record), remainingMs(record, at, lifetimes))
    const { size } = await store.addMember(listKey(user.id), sessionId, {
      ttlMs: lifetimes.refreshAbsoluteMs,
      maxMembers: maxSessionsPerUser + MEMBER_SLACK,
    })
    if (size > maxSessionsPerUser) await this.#endSurplus(user.id)
    return grant
  }

  /** Exchanges a refresh token for its successor, or ends the family it belongs to. */
  async refresh(text: unknown): Promise<RefreshAnswer> {
    const token = this.#to.refreshTokens.parse(text)
    if (token === null) return { verdict: 'unknown' }
    for (let tries = 0; tries < MAX_TRIES; tries++) {
      const answer = await this.#tryRefresh(token)
      if (answer !== null) return answer
    }
    throw new PARAPET_SESSIONS_UNAVAILABLE()
  }

  /**
   * Ends one session: its access tokens, here at once, and in one step every refresh token it had.
   *
   * @returns whose it was; `null`: it had ended before.
   */
  async end(sessionId: string): Promise<string | null> {
    const { revocations, store } = this.#to
    await revocations.add({ kind: 'session', id: sessionId })
    const stored = await store.getAndDelete(recordKey(sessionId))
    if (stored === null) return null
    const { id } = readRecord(stored).user
    await store.removeMember(listKey(id), sessionId)
    return id
  }

  /** Ends the session of a genuine refresh token, however old. */
  async endBy(text: unknown): Promise<EndedSession | null> {
    const token = this.#to.refreshTokens.parse(text)
    const userId = token === null ? null : await this.end(token.sessionId)
    return token === null || userId === null ? null : { sessionId: token.sessionId, userId }
  }

  /** Ends all sessions of a user. @param userId `null`: everyone's */
  async endAll(userId: string | null): Promise<void> {
    await this.advance(userId, 'sessions')
    if (userId !== null) await this.#to.store.delete(listKey(userId))
  }

  /** Opens a new epoch and tells every instance. @param userId `null`: everyone's */
  async advance(userId: string | null, ends: 'tokens' | 'sessions'): Promise<void> {
    const { epochs, revocations } = this.#to
    const epoch = await epochs.advance(userId, ends)
    await revocations.add(
      userId === null ? { kind: 'fleet', epoch } : { kind: 'user', id: userId, epoch },
    )
  }

  /** The sessions of a user that are alive, the one used last first. */
  async list(userId: string): Promise<SessionView[]> {
    const { store, epochs, lifetimes } = this.#to
    const ids = await store.members(listKey(userId))
    const pair = await epochs.read(userId)
    const records = await Promise.all(ids.map((id) => store.get(recordKey(id))))
    const at = this.#to.now()
    const views: SessionView[] = []
    for (const [index, text] of records.entries()) {
      const id = ids[index]!
      const record = text === null ? null : readRecord(text)
      const leftMs = record === null ? 0 : remainingMs(record, at, lifetimes)
      if (record !== null && leftMs > 0 && !isOver(record.born, pair)) {
        views.push(viewOf(id, record, at + leftMs))
      } else await store.removeMember(listKey(userId), id)
    }
    return views.toSorted((a, b) => b.lastSeenAt - a.lastSeenAt)
  }

  /** Whose session it is; `null`: there is none. */
  async ownerOf(sessionId: string): Promise<string | null> {
    const stored = await this.#to.store.get(recordKey(sessionId))
    return stored === null ? null : readRecord(stored).user.id
  }

  /** @returns `null`: another instance changed the record meanwhile. */
  async #tryRefresh(token: RefreshToken): Promise<RefreshAnswer | null> {
    const { store, epochs, lifetimes } = this.#to
    const { sessionId } = token
    const stored = await store.get(recordKey(sessionId))
    if (stored === null) return { verdict: 'unknown' }
    const record = readRecord(stored)
    const at = this.#to.now()
    const verdict = decideRefresh(record, token, at, lifetimes)
    if (verdict === 'reuse' || verdict === 'rollback') {
      await this.end(sessionId)
      return { verdict, record, token }
    }
    const pair = await epochs.read(record.user.id)
    const over = verdict === 'expired' || isOver(record.born, pair)
    const user = over ? null : await this.#currentUser(record)
    if (verdict === 'expired' || user === null || record.generation >= MAX_GENERATION) {
      await this.end(sessionId)
      return { verdict: over ? 'expired' : 'ended' }
    }
    if (verdict === 'repeat') {
      const grant = await this.#grant(sessionId, { ...record, user }, pair)
      return { verdict, grant, generation: record.generation }
    }
    const next = { ...record, user, generation: record.generation + 1, rotatedAt: at }
    const ttlMs = remainingMs(next, at, lifetimes)
    const won = await store.compareAndSet(recordKey(sessionId), stored, writeRecord(next), ttlMs)
    if (!won) return null
    return {
      verdict,
      grant: await this.#grant(sessionId, next, pair),
      generation: next.generation,
    }
  }

  /** @param pair read before the token is signed: an epoch that opens meanwhile makes it stale. */
  async #grant(sessionId: string, record: SessionRecord, pair: EpochPair): Promise<SessionGrant> {
    const { accessTokens, refreshTokens, lifetimes } = this.#to
    const { user, proof, generation } = record
    const epochs = tokenEpochsOf(pair)
    const access = await accessTokens.issue({ user, sessionId, epochs, proof })
    const at = this.#to.now()
    return Object.freeze({
      sessionId,
      userId: user.id,
      accessToken: access.text,
      accessExpiresAt: access.expiresAt,
      refreshToken: refreshTokens.derive({ sessionId, generation }),
      refreshExpiresAt: at + remainingMs(record, at, lifetimes),
    })
  }

  async #currentUser({ user }: SessionRecord): Promise<SessionUser | null> {
    const { findUser } = this.#to
    if (findUser === undefined) return user
    let found: SessionUser | null
    try {
      found = await findUser(user.id)
    } catch (error) {
      throw new PARAPET_SESSIONS_UNAVAILABLE({ cause: error })
    }
    if (found === null) return null
    const current = requireUser(found)
    return current.id === user.id ? current : null
  }

  async #endSurplus(userId: string): Promise<void> {
    const views = await this.list(userId)
    for (const { id } of views.slice(this.#to.maxSessionsPerUser)) await this.end(id)
  }
}

function viewOf(id: string, record: SessionRecord, expiresAt: number): SessionView {
  return Object.freeze({
    id,
    startedAt: record.startedAt,
    lastSeenAt: record.rotatedAt,
    expiresAt,
    amr: record.proof.amr,
    ...record.device,
  })
}

function deviceOf({ ip, userAgent }: Device): Device {
  const agent = userAgent?.toWellFormed().slice(0, MAX_AGENT_LENGTH).toWellFormed()
  return {
    ...(ip === undefined ? undefined : { ip }),
    ...(agent === undefined ? undefined : { userAgent: agent }),
  }
}

function recordKey(sessionId: string): string {
  return `sessions:session:${sessionId}`
}

function listKey(userId: string): string {
  return `sessions:of:${userId}`
}
