/**
 * The cookie of a login at a provider. It holds one random id; state, nonce and PKCE verifier are
 * derived from it, so that nothing is stored until the browser comes back.
 */
import { createHmac } from 'node:crypto'
import { secretsEqual } from '@parapet/kit'
import { deriveKey } from '../secrets/derive-key.ts'
import { isRandomId, randomId } from '../secrets/random-id.ts'

/** How long a login at the provider may take, in milliseconds. */
export const LOGIN_LIFETIME_MS = 600_000

/** One login that has begun. */
export interface LoginTicket {
  readonly id: string
  readonly provider: string
  readonly returnTo: string
  readonly cookie: string
  readonly state: string
  readonly nonce: string
  /** The PKCE code verifier. */
  readonly verifier: string
}

/** Creates and opens tickets. */
export interface LoginTickets {
  create(provider: string, returnTo: string): LoginTicket
  /** `null`: the cookie is absent, forged or expired. */
  open(cookie: string | undefined): LoginTicket | null
}

/** @param secrets the first protects new tickets; all of them open tickets. */
export function createTickets(secrets: readonly string[], now: () => number): LoginTickets {
  const keys = secrets.map((secret) => deriveKey(secret, 'oidc login'))
  return {
    create: (provider, returnTo) =>
      deriveTicket(keys[0]!, randomId(), provider, now() + LOGIN_LIFETIME_MS, returnTo),
    open(cookie = '') {
      const [id, provider, until, returnTo, tag] = cookie.split('.')
      if (!isRandomId(id) || provider === undefined || returnTo === undefined || !tag) return null
      const path = Buffer.from(returnTo, 'base64url').toString()
      for (const key of keys) {
        const ticket = deriveTicket(key, id, provider, Number(until), path)
        if (secretsEqual(ticket.cookie, cookie)) return Number(until) > now() ? ticket : null
      }
      return null
    },
  }
}

function deriveTicket(
  key: Buffer,
  id: string,
  provider: string,
  until: number,
  returnTo: string,
): LoginTicket {
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
