/** The response to a request that exceeds a limit, and the end of any response. */
import type { FastifyReply } from 'fastify'
import { PARAPET_RATE_LIMITS_EXCEEDED } from '../errors.ts'

/** What the body of a 429 is. */
export type ResponseChoice = 'json' | 'problem' | 'error-handler'

const CODE = 'PARAPET_RATE_LIMITS_EXCEEDED'

/**
 * Sends a 429. The body is written by hand, because under attack it is the most frequent response.
 *
 * @see RFC 6585, section 4; RFC 9457
 */
export function sendRefusal(reply: FastifyReply, choice: ResponseChoice, retryAfter: number): void {
  if (choice === 'error-handler') {
    const error = new PARAPET_RATE_LIMITS_EXCEEDED(String(retryAfter))
    const headers = { 'retry-after': String(retryAfter) }
    void reply.send(Object.assign(error, { headers, retryAfter }))
    return
  }
  const message = `Rate limit exceeded, retry in ${retryAfter} seconds`
  void reply.code(429)
  if (choice === 'problem') {
    void reply
      .type('application/problem+json')
      .send(
        `{"type":"about:blank","title":"Too Many Requests","status":429,"detail":"${message}",` +
          `"code":"${CODE}","retryAfter":${retryAfter},"requestId":${JSON.stringify(reply.request.id)}}`,
      )
    return
  }
  void reply
    .type('application/json; charset=utf-8')
    .send(
      `{"statusCode":429,"code":"${CODE}","error":"Too Many Requests","message":"${message}",` +
        `"retryAfter":${retryAfter}}`,
    )
}

/**
 * Calls `ended` once, when the response was sent, or its connection was closed; it may be closed already.
 * Fastify's `onResponse` does not run if the client hangs up.
 */
export function onResponseEnd({ raw }: FastifyReply, ended: (wasSent: boolean) => void): void {
  const finish = (): void => end(true)
  const close = (): void => end(raw.writableFinished)
  const end = (wasSent: boolean): void => {
    raw.off('finish', finish)
    raw.off('close', close)
    ended(wasSent)
  }
  // The client may have hung up while the request was decided.
  if (raw.destroyed) {
    ended(false)
    return
  }
  raw.on('finish', finish)
  raw.on('close', close)
}
