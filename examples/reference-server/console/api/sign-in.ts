/** Signing in and out: password, second factor, passkey. */
import { send, sendPlain } from './client.ts'
import { answerOptions } from './webauthn.ts'

/** The second step of a login. */
export interface SecondStep {
  readonly ticket: string
  readonly methods: readonly string[]
  readonly passkey?: object
}

/** Sends the password. @returns the second step, if the account has a second factor */
export async function signIn(login: string, password: string): Promise<SecondStep | undefined> {
  const result = await sendPlain<Partial<SecondStep>>('POST', '/auth/login', { login, password })
  return result.ticket === undefined ? undefined : (result as SecondStep)
}

/** Ends a login with a code of an app, or a backup code. */
export async function signInWithCode(ticket: string, code: string): Promise<void> {
  await sendPlain('POST', '/auth/login/second-factor', { ticket, code })
}

/** Signs in with a passkey alone. */
export async function signInWithPasskey(): Promise<void> {
  const options = await sendPlain<object>('POST', '/mfa/passkeys/login/options')
  await sendPlain('POST', '/mfa/passkeys/login', { response: await answerOptions(options) })
}

/** Shows a second factor in a running session. */
export async function verifyCode(code: string): Promise<void> {
  await sendPlain('POST', '/mfa/verify', { code })
}

/** Shows a passkey in a running session. */
export async function verifyPasskey(): Promise<void> {
  const options = await sendPlain<object>('POST', '/mfa/passkeys/verify/options')
  await sendPlain('POST', '/mfa/passkeys/verify', { response: await answerOptions(options) })
}

/** Ends the session. */
export async function signOut(): Promise<void> {
  await send('POST', '/auth/logout')
}
