/** The port to the second factors of users, such as those of `app.mfa`. */
import { withDeadline } from '@parapet/kit'
import { PARAPET_SESSIONS_UNAVAILABLE } from '../errors.ts'
import type { RequestLike } from '../users/request-like.ts'
import type { ShownFactor } from '../users/shown-factor.ts'

/** What the client sent in the second step. Exactly one of `code` and `passkey` is present. */
export interface SecondFactorProof {
  /** As the user typed it, 1 to 64 characters. */
  readonly code?: string
  /** `PublicKeyCredential.toJSON()`, not checked. */
  readonly passkey?: object
  readonly rememberDevice?: boolean
}

/** The circumstances of the second step. */
export interface SecondFactorContext {
  /** Its `principal` is `null`, because the user is not logged in yet. */
  readonly request: RequestLike
  /** The methods of the first step. @see RFC 8176 */
  readonly amr: readonly string[]
  /** Sets a header of the response; `set-cookie` is added to those before. */
  setHeader(name: string, value: string): void
}

/** The option `secondFactor`. Errors with a `statusCode` are sent as they are, others become 503. */
export interface SecondFactor {
  /** The methods with which the user can finish the login; `[]`: the login needs no second step. */
  methodsOf(userId: string, context: SecondFactorContext): Promise<readonly string[]>
  /** Verifies what the client sent; throws to refuse it. */
  verify(
    userId: string,
    proof: SecondFactorProof,
    context: SecondFactorContext,
  ): Promise<ShownFactor>
  /** Options for `navigator.credentials.get`. @default passkeys are not offered */
  passkeyOptions?(userId: string, context: SecondFactorContext): Promise<object>
  /**
   * Removes every factor: for an owner who shows, within 72 hours, that someone else enrolled the first one.
   *
   * @default such a factor stays
   */
  removeAll?(userId: string, context: Pick<SecondFactorContext, 'request'>): Promise<void>
  /**
   * The path of the page for the second step. A login at an identity provider is redirected there, with
   * the query `returnTo`. Required with `oidc` and `cookies`.
   */
  readonly page?: string
}

const DEADLINE_MS = 10_000

/**
 * Calls a port of the application, for at most 10 seconds.
 *
 * @throws PARAPET_SESSIONS_UNAVAILABLE it did not answer, or threw an error without a `statusCode`.
 */
export async function callPort<T>(call: () => Promise<T>): Promise<T>
/** @param read checks what the port returned; what it throws becomes 503. */
export async function callPort<T, U>(call: () => Promise<T>, read: (answer: T) => U): Promise<U>
export async function callPort<T>(
  call: () => Promise<T>,
  read: (answer: T) => unknown = (answer) => answer,
): Promise<unknown> {
  let answer: T
  try {
    answer = await withDeadline(call(), DEADLINE_MS, () => new PARAPET_SESSIONS_UNAVAILABLE())
  } catch (error) {
    if (typeof (error as { statusCode?: unknown } | null)?.statusCode === 'number') throw error
    throw new PARAPET_SESSIONS_UNAVAILABLE({ cause: error })
  }
  try {
    return read(answer)
  } catch (error) {
    // The message may name a value of the application, which must not be sent to the client.
    throw new PARAPET_SESSIONS_UNAVAILABLE({ cause: error })
  }
}
