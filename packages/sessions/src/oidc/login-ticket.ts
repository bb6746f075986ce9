/**
 * The cookie of a login at a provider. It holds one random id; state, nonce and PKCE verifier are
 * derived from it, so that nothing is stored until the browser comes back.
 */
import { createHmac } from 'node:crypto'
import { secretsEqual } from '@parapet/kit'
import { deriveKey } from '../secrets/derive-key.ts'
import { isRandomId, randomId } from '../secrets/random-id.ts'

/** Why a browser goes to a provider: to log in, or to link an identity to a session, or to raise its level. */
export type Purpose = 'login' | 'link' | 'step-up'

/** How long a login at the provider may take, in milliseconds. */
export const LOGIN_LIFETIME_MS = 600_000

/** One login that has begun. */
export interface LoginTicket {
  readonly id: string
  readonly provider: string
  readonly returnTo: string
  readonly purpose: Purpose
  /** The session of the browser when the login began. Present unless the purpose is `login`. */
  readonly sessionId: string | null
  /** When the login began, in milliseconds since the Unix epoch. */
  readonly startedAt: number
  readonly cookie: string
  readonly state: string
  readonly nonce: string
  /** The PKCE code verifier. */
  readonly verifier: string
}

/** What a login remembers until the browser comes back. */
export type TicketContent = Pick<LoginTicket, 'returnTo' | 'purpose' | 'sessionId'>

/** Creates and opens tickets. */
export interface LoginTickets {
  create(provider: string, login: TicketContent): LoginTicket
  /** `null`: the cookie is absent, forged or expired. */
  open(cookie: string | undefined): LoginTicket | null
}

/** A login has no mark, as in tickets of older versions. */
const SESSION = /^(?:(link|step-up)~)?(.*)$/

/** @param secrets the first protects new tickets; all of them open tickets. */
export function createTickets(secrets: readonly string[], now: () => number): LoginTickets {
  const keys = secrets.map((secret) => deriveKey(secret, 'oidc login'))
  return {
    create: (provider, content) =>
      deriveTicket(keys[0]!, { id: randomId(), provider, startedAt: now(), ...content }),
    open(cookie = '') {
      const [id, provider, start, path, session, tag] = cookie.split('.')
      if (!isRandomId(id) || provider === undefined || path === undefined || !tag) return null
      const startedAt = Number(start)
      const returnTo = Buffer.from(path, 'base64url').toString()
      const [, purpose = 'login', sessionId] = SESSION.exec(session ?? '') ?? []
      const isOpen = startedAt + LOGIN_LIFETIME_MS > now()
      for (const key of keys) {
        const ticket = deriveTicket(key, {
          id,
          provider,
          startedAt,
          returnTo,
          purpose: purpose as Purpose,
          sessionId: sessionId === '' ? null : sessionId!,
        })
        if (secretsEqual(ticket.cookie, cookie)) return isOpen ? ticket : null
      }
      return null
    },
  }
}

function deriveTicket(
  key: Buffer,
  login: Omit<LoginTicket, 'cookie' | 'state' | 'nonce' | 'verifier'>,
): LoginTicket {
  const { id, provider, startedAt, returnTo, purpose, sessionId } = login
  const derive = (purpose: string, text: string): string =>
    createHmac('sha256', key).update(`${purpose} ${text}`).digest('base64url')
  const path = Buffer.from(returnTo).toString('base64url')
  const session = `${purpose === 'login' ? '' : `${purpose}~`}${sessionId ?? ''}`
  const body = [id, provider, startedAt, path, session].join('.')
  return {
    ...login,
    cookie: `${body}.${derive('cookie', body)}`,
    state: derive('state', id),
    nonce: derive('nonce', id),
    verifier: derive('verifier', id),
  }
}
