/**
 * What a browser carries to the provider and back: one random value, from which state, nonce and the
 * PKCE verifier are derived, so that nothing waits in a store to be stolen.
 */
import { createHmac, timingSafeEqual } from 'node:crypto'
import { isRandomId, randomId } from './access-tokens.ts'
import { deriveKey } from './refresh-tokens.ts'

/** How long a login at the provider may take, in milliseconds. */
export const OIDC_LIFETIME_MS = 600_000

/** One login under way. */
export interface Ticket {
  readonly id: string
  readonly provider: string
  readonly returnTo: string
  readonly cookie: string
  readonly state: string
  readonly nonce: string
  readonly verifier: string
}

/** @param secrets the first makes tickets, all of them open what they made. */
export function createTickets(secrets: readonly string[], now: () => number) {
  const keys = secrets.map((secret) => deriveKey(secret, 'oidc login'))
  return {
    create: (provider: string, returnTo: string): Ticket =>
      readTicket(keys[0]!, randomId(), provider, now() + OIDC_LIFETIME_MS, returnTo),
    open(cookie: string | undefined): Ticket | null {
      const [id, provider, until, returnTo, tag] = (cookie ?? '').split('.')
      if (!isRandomId(id) || provider === undefined || returnTo === undefined || !tag) return null
      const path = Buffer.from(returnTo, 'base64url').toString()
      for (const key of keys) {
        const ticket = readTicket(key, id, provider, Number(until), path)
        if (isSame(ticket.cookie, cookie!)) return Number(until) > now() ? ticket : null
      }
      return null
    },
  }
}

function readTicket(
  key: Buffer,
  id: string,
  provider: string,
  until: number,
  returnTo: string,
): Ticket {
  const derive = (purpose: string, text: string): string =>
    createHmac('sha256', key).update(`${purpose} ${text}`).digest('base64url')
  const body = [id, provider, until, Buffer.from(returnTo).toString('base64url')].join('.')
  return {
    id,
    provider,
    returnTo,
    cookie: `${body}.${derive('cookie', body)}`,
    state: derive('state', id),
    nonce: derive('nonce', id),
    verifier: derive('verifier', id),
  }
}

function isSame(expected: string, given: string): boolean {
  const [a, b] = [Buffer.from(expected), Buffer.from(given)]
  return a.length === b.length && timingSafeEqual(a, b)
}
