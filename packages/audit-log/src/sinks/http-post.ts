/** What the HTTP sinks share: one POST, with its error handling. */
import { PARAPET_AUDIT_LOG_INVALID_OPTION } from '../errors.ts'
import { SinkBusy, SinkRefusal } from '../log/sink.ts'

/** The target of a sink, and its headers (for example `authorization`). */
export interface HttpTarget {
  /** The name of the sink. @default that of its kind */
  readonly name?: string
  readonly url: string
  readonly headers?: Readonly<Record<string, string>>
}

/** Statuses that mean the request itself is at fault, so that a retry cannot succeed. */
const REFUSED = new Set([400, 413, 415, 422])
const MAX_ANSWER_BYTES = 16 * 1024 * 1024

/** One POST. @returns the body of the response @throws SinkRefusal a retry cannot succeed */
export async function post(
  { url, headers }: HttpTarget,
  type: string,
  body: string,
  signal: AbortSignal,
  more: Readonly<Record<string, string>> = {},
): Promise<string> {
  const response = await fetch(url, {
    method: 'POST',
    headers: { ...headers, ...more, 'content-type': type },
    body,
    signal,
    redirect: 'error',
  })
  const answer = await readBody(response)
  const { status } = response
  const pauseMs = retryAfterOf(response)
  if (pauseMs !== undefined) {
    throw new SinkBusy(`the receiver answered with status ${status} and asks for a pause`, pauseMs)
  }
  if (REFUSED.has(status)) throw new SinkRefusal(`the receiver refused the request: ${status}`)
  if (!response.ok) throw new Error(`the receiver answered with status ${status}`)
  return answer
}

/** The pause that a refusal asks for, as seconds or as a date. @see RFC 9110, section 10.2.3 */
function retryAfterOf({ status, headers }: Response): number | undefined {
  const text = headers.get('retry-after')?.trim()
  if (text === undefined || (status !== 429 && status !== 503)) return undefined
  const pauseMs = /^\d{1,9}$/.test(text) ? Number(text) * 1000 : Date.parse(text) - Date.now()
  return pauseMs > 0 ? pauseMs : undefined
}

/** Limits the size, so that an endless response cannot fill the memory. */
async function readBody({ body }: Response): Promise<string> {
  const chunks: Uint8Array[] = []
  let bytes = 0
  for await (const chunk of (body ?? []) as AsyncIterable<Uint8Array>) {
    bytes += chunk.length
    if (bytes > MAX_ANSWER_BYTES) {
      throw new Error(`the response of the receiver is longer than ${MAX_ANSWER_BYTES} bytes`)
    }
    chunks.push(chunk)
  }
  return Buffer.concat(chunks).toString()
}

/** Checks a URL at boot. @throws PARAPET_AUDIT_LOG_INVALID_OPTION it is not an HTTP URL */
export function requireUrl(url: string): void {
  const isHttp = URL.canParse(url) && /^https?:$/.test(new URL(url).protocol)
  if (!isHttp) refuseTarget('"sinks" must have a "url" that starts with http:// or https://')
}

/** Refuses the options of a sink. */
export function refuseTarget(fault: string): never {
  throw new PARAPET_AUDIT_LOG_INVALID_OPTION('@parapet/audit-log', `  ${fault}`)
}
