/** A client of the API, at an address of its own where the server trusts this proxy. */

/** A response; `body` is `{}` if it is no JSON object. */
export interface Answer {
  readonly status: number
  readonly headers: Headers
  readonly text: string
  readonly body: Readonly<Record<string, unknown>>
}

/** How a request is sent. */
export interface Sending {
  readonly token?: string | undefined
  readonly body?: unknown
  readonly headers?: Readonly<Record<string, string>>
}

const DEADLINE_MS = 20_000

/** One attacker, or one honest user. */
export class Client {
  readonly #url: string
  readonly #onToken: (token: string) => void
  readonly address: string

  /** @param onToken called with every access token that the server gives */
  constructor(url: string, address: string, onToken: (token: string) => void = () => {}) {
    this.#url = url
    this.#onToken = onToken
    this.address = address
  }

  async send(
    method: string,
    path: string,
    { token, body, headers }: Sending = {},
  ): Promise<Answer> {
    const response = await fetch(this.#url + path, {
      method,
      headers: {
        'x-forwarded-for': this.address,
        ...(body === undefined ? undefined : { 'content-type': 'application/json' }),
        ...(token === undefined ? undefined : { authorization: `Bearer ${token}` }),
        ...headers,
      },
      ...(body === undefined ? undefined : { body: JSON.stringify(body) }),
      redirect: 'manual',
      signal: AbortSignal.timeout(DEADLINE_MS),
    })
    const text = await response.text()
    const parsed = parse(text)
    if (typeof parsed['access_token'] === 'string') this.#onToken(parsed['access_token'])
    return { status: response.status, headers: response.headers, text, body: parsed }
  }

  logIn(login: string, password: string): Promise<Answer> {
    return this.send('POST', '/api/v1/auth/login', { body: { login, password } })
  }
}

function parse(text: string): Answer['body'] {
  try {
    const value: unknown = JSON.parse(text)
    return typeof value === 'object' && value !== null ? (value as Answer['body']) : {}
  } catch {
    return {}
  }
}
