/**
 * Logins that wait for their second step. The client has a random ticket; the store has its hash, so
 * that the content of the store does not continue a login.
 */
import { createHash } from 'node:crypto'
import { takeRandom, type Store } from '@parapet/kit'
import type { TokenEpochs } from '../revocation/epoch.ts'
import type { RecordSeal } from '../secrets/record-seal.ts'
import type { SessionOrigin } from '../users/session-origin.ts'
import type { SessionProof, SessionUser } from '../users/user.ts'

/** A login whose first step succeeded. */
export interface PendingLogin {
  readonly user: SessionUser
  readonly proof: SessionProof
  /** The epochs at the first step: if the sessions of the user are ended meanwhile, so is the login. */
  readonly born: TokenEpochs
  readonly origin?: SessionOrigin
  /** Whether a link of the origin says that it is this user. */
  readonly isLinked?: boolean
}

/** How long the second step may take, in milliseconds. */
export const TICKET_LIFETIME_MS = 300_000
const MAX_TRIES = 10
const TICKET = /^[\w-]{43}$/

/** See {@link createPendingLogins}. Methods reject with the store's error. */
export interface PendingLogins {
  /** @returns the ticket. */
  add(login: PendingLogin): Promise<string>
  /** `null`: the ticket is malformed, unknown, expired or used. */
  find(ticket: string): Promise<PendingLogin | null>
  /** Counts a try. @returns `false`, and deletes the login, after 10 tries. */
  countTry(ticket: string): Promise<boolean>
  /** Uses up the ticket. @returns `true` to one of concurrent callers. */
  take(ticket: string): Promise<boolean>
}

/** Creates the logins of one store. */
export function createPendingLogins(store: Store, seal: RecordSeal): PendingLogins {
  return {
    async add(login) {
      const ticket = takeRandom(32).toString('base64url')
      const text = seal.seal('login', hashOf(ticket), JSON.stringify(login))
      await store.set(keyOf(ticket), text, TICKET_LIFETIME_MS)
      return ticket
    },
    async find(ticket) {
      const text = TICKET.test(ticket) ? await store.get(keyOf(ticket)) : null
      const json = text === null ? null : seal.open('login', hashOf(ticket), text)
      return json === null ? null : (JSON.parse(json) as PendingLogin)
    },
    async countTry(ticket) {
      const limit = [{ windowMs: TICKET_LIFETIME_MS, limit: MAX_TRIES }]
      const { counted } = await store.count(`${keyOf(ticket)}:tries`, limit)
      if (!counted) await store.delete(keyOf(ticket))
      return counted
    },
    take: async (ticket) => (await store.getAndDelete(keyOf(ticket))) !== null,
  }
}

function keyOf(ticket: string): string {
  return `sessions:second-factor:${hashOf(ticket)}`
}

function hashOf(ticket: string): string {
  return createHash('sha256').update(`parapet login ticket ${ticket}`).digest('base64url')
}
