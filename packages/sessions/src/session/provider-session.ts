/** Which sessions came from which session of an identity provider, so that the provider can end them. */
import { createHash } from 'node:crypto'
import type { ProviderLogout, SessionOrigin } from '../users/session-origin.ts'
import type { SessionContext } from './context.ts'

type OriginContext = Pick<SessionContext, 'store' | 'lifetimes'>

/** How long a login may take that began before the logout: at the provider, and its second step. */
const LOGIN_MS = 900_000
const MAX_SESSIONS = 2000
const MAX_LOGOUTS = 100

/** Lists a session under its origin. */
export async function addOrigin(
  { store, lifetimes }: OriginContext,
  sessionId: string,
  origin: SessionOrigin,
): Promise<void> {
  const bounds = { ttlMs: lifetimes.refreshAbsoluteMs, maxMembers: MAX_SESSIONS }
  for (const key of keysOf(origin)) await store.addMember(`${key}:sessions`, sessionId, bounds)
}

/** Takes a session that has ended from the lists. */
export async function removeOrigin(
  { store }: Pick<SessionContext, 'store'>,
  sessionId: string,
  origin: SessionOrigin,
): Promise<void> {
  for (const key of keysOf(origin)) await store.removeMember(`${key}:sessions`, sessionId)
}

/** The ids of the sessions that a logout may be about; {@link isLoggedOut} decides about each. */
export function sessionsOf(
  { store }: Pick<SessionContext, 'store'>,
  logout: Omit<ProviderLogout, 'issuedAt'>,
): Promise<string[]> {
  return store.members(`${keyOfLogout(logout)}:sessions`)
}

/** Whether a logout is about a session of this origin. */
export function isLoggedOut(origin: SessionOrigin, logout: ProviderLogout): boolean {
  if (origin.provider !== logout.provider || origin.issuedAt > logout.issuedAt) return false
  if (logout.subject !== null && logout.subject !== origin.subject) return false
  return logout.sid === null ? logout.subject !== null : logout.sid === origin.sid
}

/** Remembers a logout for the logins that are on their way. */
export async function rememberLogout(
  { store }: Pick<SessionContext, 'store'>,
  logout: ProviderLogout,
): Promise<void> {
  const bounds = { windowMs: LOGIN_MS, maxEntries: MAX_LOGOUTS }
  await store.append(`${keyOfLogout(logout)}:logouts`, String(logout.issuedAt), bounds)
}

/** Whether the provider has reported a logout since it issued the ID token. */
export async function hasLoggedOut(
  { store }: Pick<SessionContext, 'store'>,
  origin: SessionOrigin,
): Promise<boolean> {
  for (const key of keysOf(origin)) {
    const logouts = await store.timeline(`${key}:logouts`, LOGIN_MS)
    if (logouts.some(({ value }) => Number(value) >= origin.issuedAt)) return true
  }
  return false
}

function keysOf({ provider, subject, sid }: SessionOrigin): string[] {
  const bySubject = keyOf(provider, 'sub', subject)
  return sid === null ? [bySubject] : [bySubject, keyOf(provider, 'sid', sid)]
}

function keyOfLogout({ provider, subject, sid }: Omit<ProviderLogout, 'issuedAt'>): string {
  return sid === null ? keyOf(provider, 'sub', subject ?? '') : keyOf(provider, 'sid', sid)
}

/** Hashed, because a provider chooses these texts. */
function keyOf(provider: string, kind: 'sub' | 'sid', value: string): string {
  const text = JSON.stringify([provider, kind, value])
  return `sessions:oidc:from:${createHash('sha256').update(text).digest('base64url')}`
}
