/** Follows the feed: server-sent events over `fetch`, so that a refusal can be resolved; see `client.ts`. */
import { get, open, Problem } from './client.ts'
import type { FeedEvent, Minute } from './types.ts'

/** `live`: events arrive; `retrying`: the connection broke and is opened again. */
export type LiveState = 'connecting' | 'live' | 'retrying'

/** What a follower receives. */
export interface LiveListener {
  state(state: LiveState): void
  /**
   * @param skipped how many others there were that are not shown
   * @param isNews `false`: they happened before the page was opened
   */
  events(events: readonly FeedEvent[], skipped: number, isNews: boolean): void
  minute(minute: Minute): void
  /** The connection was open before, so that minutes were missed, and rights may have changed. */
  reconnected(): void
  /** The user may no longer read the feed. */
  refused(): void
}

const FIRST_WAIT_MS = 1000
const LONGEST_WAIT_MS = 15_000
/** The server sends the minute every 5 seconds. A connection that is silent for longer is dead. */
const SILENCE_MS = 20_000

/** Follows until the signal is aborted. @param query the filter */
export async function follow(
  query: string,
  listener: LiveListener,
  signal: AbortSignal,
): Promise<void> {
  let wait = FIRST_WAIT_MS
  let isFirst = true
  while (!signal.aborted) {
    let pauseMs = wait
    try {
      const start = performance.now()
      const isOver = await followOnce(query, listener, signal, isFirst, () => {
        isFirst = false
        wait = FIRST_WAIT_MS
      })
      // The server ends each stream after a while, so that the credential is checked again.
      if (isOver && performance.now() - start > SILENCE_MS) continue
      pauseMs = FIRST_WAIT_MS
    } catch (error) {
      if (signal.aborted) return
      const { status, retryAfterSeconds = 0 } = error instanceof Problem ? error : NO_PROBLEM
      if (status === 403) listener.refused()
      pauseMs = Math.max(wait, retryAfterSeconds * 1000)
    }
    if (signal.aborted) return
    listener.state('retrying')
    await pause(pauseMs, signal)
    wait = Math.min(wait * 2, LONGEST_WAIT_MS)
  }
}

const NO_PROBLEM = { status: 0, retryAfterSeconds: 0 }

/** @returns whether the server has ended the stream on purpose */
async function followOnce(
  query: string,
  listener: LiveListener,
  signal: AbortSignal,
  isFirst: boolean,
  onOpen: () => void,
): Promise<boolean> {
  const attempt = new AbortController()
  const abort = () => attempt.abort()
  signal.addEventListener('abort', abort)
  let timer = setTimeout(abort, SILENCE_MS)
  const onData = () => {
    clearTimeout(timer)
    timer = setTimeout(abort, SILENCE_MS)
  }
  try {
    const response = await open(`/console/events/stream${query}`, attempt.signal)
    onData()
    // What happened before, and while the connection was broken.
    const { items } = await get<{ items: FeedEvent[] }>(`/console/events${query}`)
    if (signal.aborted) return false
    listener.events(items.toReversed(), 0, !isFirst)
    listener.state('live')
    if (!isFirst) listener.reconnected()
    onOpen()
    return await readStream(response, listener, onData)
  } finally {
    clearTimeout(timer)
    signal.removeEventListener('abort', abort)
    attempt.abort()
  }
}

async function readStream(
  response: Response,
  listener: LiveListener,
  onData: () => void,
): Promise<boolean> {
  const reader = response.body!.pipeThrough(new TextDecoderStream()).getReader()
  let buffer = ''
  let isOver = false
  for (;;) {
    const { done, value } = await reader.read()
    if (done) return isOver
    onData()
    const parts = (buffer + value).split('\n\n')
    buffer = parts.pop() ?? ''
    for (const part of parts) {
      isOver ||= part.startsWith('event: end\n')
      dispatch(part, listener)
    }
  }
}

function dispatch(part: string, listener: LiveListener): void {
  const [, name, data] = /^event: (\w+)\ndata: (.+)$/s.exec(part) ?? []
  if (name === undefined || data === undefined) return
  if (name === 'minute') listener.minute(JSON.parse(data) as Minute)
  if (name === 'events') {
    const { events, skipped } = JSON.parse(data) as { events: FeedEvent[]; skipped: number }
    listener.events(events, skipped, true)
  }
}

function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, ms)
    signal.addEventListener('abort', () => {
      clearTimeout(timer)
      resolve()
    })
  })
}
