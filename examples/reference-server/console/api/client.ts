/** Requests to the API: cookies carry the session; a refusal becomes a `Problem`. */

/** The prefix of the API, as the page names it; `/ready` and the page itself are at the root. */
export const API = document.querySelector<HTMLMetaElement>('meta[name=parapet-api]')?.content ?? ''

/** A refused request. @see RFC 9457 */
export class Problem extends Error {
  readonly status: number
  readonly code: string
  readonly retryAfterSeconds: number | undefined

  constructor(status: number, code: string, message: string, retryAfter?: number) {
    super(message)
    this.name = 'Problem'
    this.status = status
    this.code = code
    this.retryAfterSeconds = retryAfter
  }
}

/** How the page reacts to refusals that a person can resolve. */
export interface Challenges {
  /** Asks for a second factor. @returns whether one was shown */
  stepUp(needsPasskey: boolean): Promise<boolean>
  /** The session has ended, and cannot be refreshed. */
  signedOut(): void
}

let challenges: Challenges = { stepUp: async () => false, signedOut: () => {} }

/** Sets the reactions; the shell does it once. */
export function onChallenge(reactions: Challenges): void {
  challenges = reactions
}

/** Every request but the feed. */
const TIMEOUT_MS = 30_000

type Method = 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE'

/** Sends a request below the prefix, and returns the JSON of the response; `undefined` if it has none. */
export async function send<T>(method: Method, path: string, body?: object): Promise<T> {
  return readJson(await sendChecked(method, API + path, body))
}

/** Reads JSON. */
export function get<T>(path: string): Promise<T> {
  return send('GET', path)
}

/** Reads a text. */
export async function getText(path: string): Promise<string> {
  return (await sendChecked('GET', API + path)).text()
}

/** Reads bytes. */
export async function getBytes(path: string): Promise<Uint8Array<ArrayBuffer>> {
  return new Uint8Array(await (await sendChecked('GET', API + path)).arrayBuffer())
}

/** Opens a response that is read as it arrives. */
export function open(path: string, signal: AbortSignal): Promise<Response> {
  return sendChecked('GET', API + path, undefined, signal)
}

/** Sends a request without reacting to a refusal: for the sign-in itself. */
export async function sendPlain<T>(method: Method, path: string, body?: object): Promise<T> {
  const response = await fetchOnce(method, API + path, body)
  if (!response.ok) throw await readProblem(response)
  return readJson(response)
}

async function readJson<T>(response: Response): Promise<T> {
  const text = await response.text()
  try {
    return (text === '' ? undefined : JSON.parse(text)) as T
  } catch {
    const message = 'The answer is not from the API. Is there a proxy or a login page in between?'
    throw new Problem(response.status, 'NO_JSON', message)
  }
}

async function sendChecked(
  method: Method,
  url: string,
  body?: object,
  signal?: AbortSignal,
): Promise<Response> {
  const response = await fetchOnce(method, url, body, signal)
  if (response.ok) return response
  const problem = await readProblem(response)
  if (!(await isResolved(problem, response))) throw problem
  const second = await fetchOnce(method, url, body, signal)
  if (second.ok) return second
  throw await readProblem(second)
}

/** Whether a person or a refresh has removed the reason of a refusal. */
async function isResolved({ status, code }: Problem, response: Response): Promise<boolean> {
  if (status !== 401) return false
  if (code === 'PARAPET_MFA_STEP_UP_REQUIRED') {
    const asked = response.headers.get('www-authenticate') ?? ''
    return askOnce(asked.includes('acr_values="phr"'))
  }
  if (code === 'PARAPET_MFA_RECENT_LOGIN_REQUIRED') return false
  if (await refresh()) return true
  challenges.signedOut()
  return false
}

let asking: Promise<boolean> | undefined

/** Requests at the same time share one question: a second dialog would leave the first without an answer. */
function askOnce(needsPasskey: boolean): Promise<boolean> {
  asking ??= challenges.stepUp(needsPasskey).finally(() => (asking = undefined))
  return asking
}

let refreshing: Promise<boolean> | undefined

/**
 * Exchanges the refresh cookie; requests at the same time share one exchange.
 *
 * @returns `false`: the session has ended
 * @throws Problem the server could not answer, so that the session may go on
 */
function refresh(): Promise<boolean> {
  refreshing ??= fetchOnce('POST', `${API}/auth/refresh`)
    .then(async (response) => {
      if (response.status === 429 || response.status >= 500) throw await readProblem(response)
      return response.ok
    })
    .finally(() => (refreshing = undefined))
  return refreshing
}

async function fetchOnce(
  method: Method,
  url: string,
  body?: object,
  signal?: AbortSignal,
): Promise<Response> {
  const json = body === undefined ? {} : { body: JSON.stringify(body) }
  const headers = body === undefined ? {} : { headers: { 'content-type': 'application/json' } }
  const common: RequestInit = {
    method,
    credentials: 'same-origin',
    // A tile from the cache would hide that the log was edited since.
    cache: 'no-store',
    signal: signal ?? AbortSignal.timeout(TIMEOUT_MS),
  }
  try {
    return await fetch(url, { ...common, ...headers, ...json })
  } catch (error) {
    const { name } = error as Error
    if (name === 'AbortError') throw error
    const text =
      name === 'TimeoutError' ? 'The server does not answer.' : 'The server cannot be reached.'
    throw new Problem(0, 'NETWORK', text)
  }
}

async function readProblem(response: Response): Promise<Problem> {
  const body = (await response.json().catch(() => ({}))) as {
    code?: string
    detail?: string
    message?: string
    title?: string
  }
  const message =
    body.detail ?? body.message ?? body.title ?? `The server answered ${response.status}.`
  const retryAfter = Number(response.headers.get('retry-after') ?? Number.NaN)
  const seconds = Number.isFinite(retryAfter) ? retryAfter : undefined
  const text =
    seconds === undefined ? message : `${message.replace(/\.?$/, '.')} ${waitOf(seconds)}`
  return new Problem(response.status, body.code ?? '', text, seconds)
}

function waitOf(seconds: number): string {
  const minutes = Math.ceil(seconds / 60)
  if (seconds <= 90) return `Try again in ${seconds} s.`
  return `Try again in ${minutes < 90 ? `${minutes} min` : `${Math.ceil(minutes / 60)} h`}.`
}
