/** When a response is over: Fastify's `onResponse` does not run if the client hangs up. */
import type { FastifyReply } from 'fastify'

/** Calls `ended` once, when the response was sent, or its connection was closed. It may be closed already. */
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
