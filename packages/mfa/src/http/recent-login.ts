/** Requires a recent login before a first factor is enrolled. */
import type { Principal } from '@parapet/kit'
import type { FastifyBaseLogger } from 'fastify'
import { PARAPET_MFA_RECENT_LOGIN_REQUIRED } from '../errors.ts'

/** Returns the caller. @throws PARAPET_MFA_RECENT_LOGIN_REQUIRED */
export type RequireRecentLogin = (caller: Principal) => Principal

/** What {@link createRecentLogin} needs. */
export interface RecentLoginSettings {
  readonly log: FastifyBaseLogger
  readonly now: () => number
  readonly manageMaxAgeSeconds: number
  /** Whether a login that does not say when it took place is refused: with a profile. */
  readonly refusesUnknownAge: boolean
}

/**
 * Creates the check. Where there is no factor to prove, the login is the proof: a stolen session must not
 * enrol a factor of the thief. A login of the future is none: it would be recent for too long. One without
 * `authenticatedAt` is logged once.
 *
 * @see OWASP ASVS 5.0, 7.5.1; NIST SP 800-63B-4, 4.1.2
 */
export function createRecentLogin(settings: RecentLoginSettings): RequireRecentLogin {
  const { log, now, manageMaxAgeSeconds, refusesUnknownAge } = settings
  let isLogged = false
  return (caller) => {
    const { authenticatedAt } = caller
    if (authenticatedAt === undefined) {
      if (!isLogged) log.warn(refusesUnknownAge ? REFUSED : ACCEPTED)
      isLogged = true
    }
    const isRecent =
      authenticatedAt === undefined
        ? !refusesUnknownAge
        : Math.abs(now() - authenticatedAt) < manageMaxAgeSeconds * 1000
    if (isRecent) return caller
    throw challenge(
      new PARAPET_MFA_RECENT_LOGIN_REQUIRED(),
      `Bearer error="insufficient_user_authentication", max_age="${manageMaxAgeSeconds}"`,
    )
  }
}

const FIX = 'Return "authenticatedAt" from the login or from the option "principal".'
const REFUSED = `mfa refused to enrol a first factor, because the login does not say when it took place. ${FIX}`
const ACCEPTED =
  'mfa enrolled a first factor although the login does not say when it took place, so an old session can ' +
  `do it. ${FIX}`

/** An error that tells the client how to authenticate. @see RFC 9110, section 11.6.1; RFC 9470 */
export function challenge(error: Error, header: string): Error {
  return Object.assign(error, { headers: { 'www-authenticate': header } })
}
