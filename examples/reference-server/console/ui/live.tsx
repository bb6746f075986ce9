/** The live state that all pages share: the latest events, the minutes, and the connection. */
import { createContext, type ComponentChildren } from 'preact'
import { useCallback, useContext, useEffect, useMemo, useRef, useState } from 'preact/hooks'
import { get } from '../api/client.ts'
import { follow, type LiveState } from '../api/live.ts'
import type { FeedEvent, Minute } from '../api/types.ts'

/** What pages see. */
export interface Live {
  /** The newest first, at most 500. */
  readonly events: readonly FeedEvent[]
  /** How many events were too many to show, since the page was opened. */
  readonly skipped: number
  /** The oldest first. */
  readonly minutes: readonly Minute[]
  readonly state: LiveState
  /** The filter of the server: `?severity=high`; empty: everything. */
  readonly setQuery: (query: string) => void
  /** Calls back for new events whose type begins with a prefix. @returns a function that stops it */
  readonly subscribe: (prefix: string, callback: () => void) => () => void
}

const MAX_EVENTS = 500
const MAX_MINUTES = 180
const LiveContext = createContext<Live>({
  events: [],
  skipped: 0,
  minutes: [],
  state: 'connecting',
  setQuery: () => {},
  subscribe: () => () => {},
})

/** Follows the feed as long as it is rendered. @param onDoubt the rights of the user may have changed */
export function LiveProvider({
  onDoubt,
  children,
}: {
  readonly onDoubt: () => void
  readonly children: ComponentChildren
}) {
  const [query, setQuery] = useState('')
  const [events, setEvents] = useState<readonly FeedEvent[]>([])
  const [skipped, setSkipped] = useState(0)
  const [minutes, setMinutes] = useState<readonly Minute[]>([])
  const [state, setState] = useState<LiveState>('connecting')
  const [subscribers] = useState(() => new Map<() => void, string>())

  useEffect(() => {
    const controller = new AbortController()
    setEvents([])
    void follow(
      query,
      {
        state: setState,
        events: (added, more, isNews) => {
          setEvents((known) => merge(known, added))
          if (more > 0) setSkipped((count) => count + more)
          if (isNews) announce(subscribers, added)
        },
        minute: (minute) => setMinutes((known) => replaceLast(known, minute)),
        reconnected: () => {
          loadMinutes(setMinutes)
          onDoubt()
        },
        refused: onDoubt,
      },
      controller.signal,
    )
    return () => controller.abort()
  }, [query])

  useEffect(() => {
    loadMinutes(setMinutes)
    // A tab in the background misses minutes.
    const onVisible = () => document.visibilityState === 'visible' && loadMinutes(setMinutes)
    document.addEventListener('visibilitychange', onVisible)
    return () => document.removeEventListener('visibilitychange', onVisible)
  }, [])

  const subscribe = useCallback((prefix: string, callback: () => void) => {
    subscribers.set(callback, prefix)
    return () => void subscribers.delete(callback)
  }, [])
  const live = useMemo(
    () => ({ events, skipped, minutes, state, setQuery, subscribe }),
    [events, skipped, minutes, state],
  )
  return <LiveContext.Provider value={live}>{children}</LiveContext.Provider>
}

function announce(subscribers: ReadonlyMap<() => void, string>, added: readonly FeedEvent[]): void {
  for (const [callback, prefix] of subscribers) {
    if (added.some(({ type }) => type.startsWith(prefix))) callback()
  }
}

function loadMinutes(onLoaded: (minutes: readonly Minute[]) => void): void {
  get<{ minutes: Minute[] }>('/console/counters')
    .then(({ minutes }) => onLoaded(minutes))
    .catch(() => {})
}

/** The live state. */
export function useLive(): Live {
  return useContext(LiveContext)
}

/** An attack is thousands of events; each page asks the server at most so often because of them. */
const EVERY_MS = 3000

/** Calls back when events arrive whose type begins with a prefix: at once, then at most every 3 seconds. */
export function useOnEvent(prefix: string, callback: () => void): void {
  const { subscribe } = useLive()
  const latest = useRef(callback)
  latest.current = callback
  useEffect(() => {
    let timer: ReturnType<typeof setTimeout> | undefined
    let isResting = false
    let isDue = false
    const run = () => {
      // A tab that nobody looks at catches up when it is shown.
      isDue = document.hidden
      if (isDue) return
      isResting = true
      latest.current()
      timer = setTimeout(() => {
        isResting = false
        if (isDue) run()
      }, EVERY_MS)
    }
    const stop = subscribe(prefix, () => {
      if (isResting) isDue = true
      else run()
    })
    const onVisible = () => isDue && !isResting && run()
    document.addEventListener('visibilitychange', onVisible)
    return () => {
      stop()
      clearTimeout(timer)
      document.removeEventListener('visibilitychange', onVisible)
    }
  }, [prefix])
}

function merge(known: readonly FeedEvent[], added: readonly FeedEvent[]): FeedEvent[] {
  const ids = new Set(known.map(({ id }) => id))
  const fresh = added.filter(({ id }) => !ids.has(id)).toReversed()
  return [...fresh, ...known].toSorted((a, b) => b.time - a.time).slice(0, MAX_EVENTS)
}

function replaceLast(known: readonly Minute[], minute: Minute): readonly Minute[] {
  const last = known.at(-1)
  if (last !== undefined && last.time === minute.time) return [...known.slice(0, -1), minute]
  if (last !== undefined && last.time > minute.time) return known
  return [...known, minute].slice(-MAX_MINUTES)
}
