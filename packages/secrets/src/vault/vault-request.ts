/** One HTTP exchange with Vault: deadline, retries, and errors without secrets. */
import { randomInt } from 'node:crypto'
import type { Clock } from '@parapet/kit'
import { PARAPET_SECRETS_PROVIDER_FAILED, PARAPET_SECRETS_PROVIDER_TIMEOUT } from '../errors.ts'

/** Where Vault is, and how patiently it is asked. */
export interface VaultEndpoint {
  readonly address: string
  readonly namespace: string | undefined
  /** For all attempts together. */
  readonly deadlineMs: number
  readonly retries: number
  readonly clock: Clock
}

/** A request; the path is below `/v1/`. */
export interface VaultRequest {
  readonly method: 'GET' | 'POST' | 'PUT'
  readonly path: string
  readonly body?: object
  readonly token?: string
}

/** An answer, whatever its status. */
export interface VaultAnswer {
  readonly status: number
  readonly body: VaultBody
  /** The first error that Vault names; without the values of the request. */
  readonly reason: string
}

/** The members of Vault's answers that are used. */
export interface VaultBody {
  readonly data?: unknown
  readonly auth?: {
    readonly client_token?: string
    readonly lease_duration?: number
    readonly renewable?: boolean
    readonly policies?: readonly string[]
  } | null
  readonly lease_id?: string
  readonly lease_duration?: number
  readonly renewable?: boolean
  readonly errors?: readonly string[]
  readonly sealed?: boolean
  readonly initialized?: boolean
  readonly standby?: boolean
}

const MAX_BODY_BYTES = 4_194_304
const FIRST_PAUSE_MS = 100
/** 412: a performance standby has not seen the write yet. @see Vault, "Eventual consistency" */
const RETRIED = new Set([412, 429, 472, 473, 500, 502, 503, 504])
const NAME = 'vault'

/**
 * Sends a request. Failures of the network, and answers that ask for patience, are retried with jitter.
 * Writes are retried, too: KV writes carry check-and-set, logins and renewals may be repeated.
 *
 * @throws PARAPET_SECRETS_PROVIDER_TIMEOUT, PARAPET_SECRETS_PROVIDER_FAILED
 */
export async function askVault(
  endpoint: VaultEndpoint,
  request: VaultRequest,
): Promise<VaultAnswer> {
  const { deadlineMs, retries, clock } = endpoint
  const controller = new AbortController()
  const cancel = clock.schedule(deadlineMs, () => controller.abort())
  try {
    for (let attempt = 0; ; attempt++) {
      const answer = await exchange(endpoint, request, controller.signal)
      const isLast = attempt >= retries || controller.signal.aborted
      if (isLast || (typeof answer !== 'string' && !RETRIED.has(answer.status))) {
        if (controller.signal.aborted) throw new PARAPET_SECRETS_PROVIDER_TIMEOUT(NAME, deadlineMs)
        if (typeof answer === 'string') throw new PARAPET_SECRETS_PROVIDER_FAILED(NAME, answer)
        return answer
      }
      await pause(clock, FIRST_PAUSE_MS * 2 ** attempt, controller.signal)
    }
  } finally {
    cancel()
  }
}

/** @returns the answer, or why there is none. */
async function exchange(
  { address, namespace }: VaultEndpoint,
  { method, path, body, token }: VaultRequest,
  signal: AbortSignal,
): Promise<VaultAnswer | string> {
  try {
    const response = await fetch(new URL(`/v1/${path}`, address), {
      method,
      headers: {
        // Vault refuses requests without it where its agent asks for it: protection against SSRF.
        'x-vault-request': 'true',
        ...(token !== undefined && { 'x-vault-token': token }),
        ...(namespace !== undefined && { 'x-vault-namespace': namespace }),
        ...(body !== undefined && { 'content-type': 'application/json' }),
      },
      ...(body !== undefined && { body: JSON.stringify(body) }),
      // A token must not follow a redirect to another host.
      redirect: 'error',
      signal,
    })
    const text = await readBounded(response)
    const parsed = text === '' ? {} : (JSON.parse(text) as VaultBody | null)
    if (typeof parsed !== 'object' || parsed === null) return 'the answer is not a JSON object'
    const reason = `${response.status} ${parsed.errors?.[0] ?? response.statusText}`.slice(0, 200)
    return { status: response.status, body: parsed, reason }
  } catch (error) {
    const { cause } = error as { readonly cause?: NodeJS.ErrnoException }
    // The message of a JSON error would quote the answer.
    if (error instanceof SyntaxError) return 'the answer is not JSON'
    return cause?.code ?? (error as Error).name
  }
}

async function readBounded(response: Response): Promise<string> {
  if (response.body === null) return ''
  const chunks: Uint8Array[] = []
  let size = 0
  for await (const chunk of response.body as unknown as AsyncIterable<Uint8Array>) {
    size += chunk.byteLength
    if (size > MAX_BODY_BYTES) throw new RangeError('the answer is larger than 4 MiB')
    chunks.push(chunk)
  }
  return Buffer.concat(chunks).toString('utf8')
}

function pause(clock: Clock, ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    // Timers of the clock do not keep the process alive, which may be starting.
    const keepAlive = setInterval(() => {}, 60_000)
    const done = (): void => {
      clearInterval(keepAlive)
      cancel()
      signal.removeEventListener('abort', done)
      resolve()
    }
    const cancel = clock.schedule(Math.round(ms / 2) + randomInt(Math.ceil(ms / 2)), done)
    signal.addEventListener('abort', done)
  })
}
