/** Enrols an authenticator app, as a client of the service does. */
import { URI, type TOTP } from 'otpauth'
import type { createClient, Headers } from './test-app.ts'

/** An enrolled app. */
export interface EnrolledApp {
  /** The headers with the new tokens: enrolling has renewed the session. */
  readonly headers: Headers
  readonly uri: string
  readonly backupCodes: readonly string[]
  /** A code that has not been used, from the next time step. */
  readonly nextCode: () => string
}

/** Enrols an authenticator app in a session. */
export async function enrol(
  ask: ReturnType<typeof createClient>['ask'],
  who: Headers,
): Promise<EnrolledApp> {
  const begun = await ask(who, 'POST', '/api/v1/mfa/totp')
  const { ticket, uri, backupCodes } = begun.body as {
    ticket: string
    uri: string
    backupCodes: string[]
  }
  const totp = URI.parse(uri) as TOTP
  const code = totp.generate()
  const { body } = await ask(who, 'POST', '/api/v1/mfa/totp/confirm', { ticket, code })
  return {
    headers: { authorization: `Bearer ${String(body['access_token'])}` },
    uri,
    backupCodes,
    nextCode: () => totp.generate({ timestamp: Date.now() + 30_000 }),
  }
}
