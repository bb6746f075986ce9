/** What a request of the client ends with when the service refuses it. */
export class SessionError extends Error {
  override readonly name = 'SessionError'
  /** The status of the response; 0: there is none. The code says why. */
  readonly status: number
  /** For instance `PARAPET_SESSIONS_LOGIN_FAILED`; with status 0 `TIMEOUT`, `PASSKEY_MISSING`, `PASSKEYS_UNSUPPORTED`. */
  readonly code: string
  /** After how many seconds to try again, where the service says so. */
  readonly retryAfterSeconds: number | undefined

  constructor(status: number, code: string, message: string, retryAfterSeconds?: number) {
    super(message)
    this.status = status
    this.code = code
    this.retryAfterSeconds = retryAfterSeconds
  }
}

/** Reads the problem details of a refusal (RFC 9457), or what another error handler has sent. */
export async function errorOf(response: Response): Promise<SessionError> {
  const { status, headers } = response
  const problem = ((await response.json().catch(() => null)) ?? {}) as Partial<
    Record<'code' | 'detail' | 'message', string>
  >
  const seconds = Number(headers.get('retry-after') ?? NaN)
  return new SessionError(
    status,
    problem.code ?? '',
    problem.detail ?? problem.message ?? `the service answered ${status}`,
    seconds >= 0 ? seconds : undefined,
  )
}

/** The body of a response. @throws SessionError the service refused the request. */
export async function readReply<T>(reply: Promise<Response>): Promise<T> {
  const response = await reply
  if (!response.ok) throw await errorOf(response)
  return response.status === 204 ? (undefined as T) : ((await response.json()) as T)
}
