/** Tells a processor of an erasure. @see GDPR, articles 19 and 28(3)(e) */
import { PARAPET_PRIVACY_TIMEOUT } from '../errors.ts'
import { signWebhook } from './webhook.ts'

/** A processor, which holds data on behalf of this service. */
export interface Processor {
  /** Lower case, letters, digits, `_` and `-`. */
  readonly name: string
  /** `https:`, or `http:` on a loopback address. */
  readonly url: string
  /** At least 32 characters; signs the notices and the answers. */
  readonly secret: string
  /** By what name the processor knows a subject; `null`: it does not know it. @default the subject's id */
  readonly subjectOf?: (subject: string) => string | null | Promise<string | null>
}

/** The notice, as the processor receives it. */
export interface ErasureNotice {
  readonly type: 'privacy.erasure'
  /** The id of the request; answers name it. */
  readonly id: string
  readonly subject: string
}

const MAX_ANSWER_BYTES = 65_536

/**
 * Sends a notice. Redirects are refused: they could lead anywhere.
 *
 * @returns `done`: the processor has erased; `told`: it will answer later.
 * @throws PARAPET_PRIVACY_TIMEOUT, and an error for every status but 2xx
 */
export async function tellProcessor(
  { name, url, secret }: Processor,
  notice: ErasureNotice,
  { now, deadlineMs, signal }: { now: number; deadlineMs: number; signal: AbortSignal },
): Promise<'done' | 'told'> {
  const body = JSON.stringify(notice)
  const timeout = AbortSignal.timeout(deadlineMs)
  try {
    const response = await fetch(url, {
      method: 'POST',
      redirect: 'error',
      headers: {
        'content-type': 'application/json',
        ...signWebhook(`${notice.id}:${name}`, body, secret, now),
      },
      body,
      signal: AbortSignal.any([timeout, signal]),
    })
    const text = await readBounded(response)
    if (!response.ok) throw new RefusedNotice(`HTTP_${response.status}`)
    return statusOf(text) === 'erased' ? 'done' : 'told'
  } catch (error) {
    if (timeout.aborted) throw new PARAPET_PRIVACY_TIMEOUT(`The processor "${name}"`, deadlineMs)
    throw error
  }
}

/** Its name is reported as the reason. */
class RefusedNotice extends Error {
  readonly code: string
  constructor(code: string) {
    super('the processor refused the notice')
    this.code = code
  }
}

async function readBounded({ body }: Response): Promise<string> {
  const chunks: Uint8Array[] = []
  let bytes = 0
  for await (const chunk of (body ?? []) as AsyncIterable<Uint8Array>) {
    bytes += chunk.length
    if (bytes > MAX_ANSWER_BYTES) throw new RefusedNotice('ANSWER_TOO_LONG')
    chunks.push(chunk)
  }
  return Buffer.concat(chunks).toString()
}

function statusOf(text: string): unknown {
  try {
    return (JSON.parse(text) as { readonly status?: unknown } | null)?.status
  } catch {
    return undefined
  }
}
