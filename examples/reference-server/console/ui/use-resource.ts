/** Loads data for a page, and keeps what was there while it loads again, so that nothing jumps. */
import { useCallback, useEffect, useRef, useState } from 'preact/hooks'
import { Problem } from '../api/client.ts'

/** A resource. */
export interface Resource<T> {
  readonly data: T | undefined
  readonly error: Problem | undefined
  readonly isLoading: boolean
  readonly reload: () => void
}

/** @param key loads anew when it changes */
export function useResource<T>(load: () => Promise<T>, key = ''): Resource<T> {
  const [data, setData] = useState<T>()
  const [error, setError] = useState<Problem>()
  const [isLoading, setLoading] = useState(true)
  const [turn, setTurn] = useState(0)
  const loader = useRef(load)
  loader.current = load
  useEffect(() => {
    let isCurrent = true
    setLoading(true)
    loader
      .current()
      .then((value) => {
        if (isCurrent) {
          setData(value)
          setError(undefined)
        }
        return value
      })
      .catch((reason: unknown) => {
        if (isCurrent) setError(toProblem(reason))
      })
      .finally(() => {
        if (isCurrent) setLoading(false)
      })
    return () => void (isCurrent = false)
  }, [key, turn])
  const reload = useCallback(() => setTurn((value) => value + 1), [])
  return { data, error, isLoading, reload }
}

/** What went wrong, in one form. */
export function toProblem(reason: unknown): Problem {
  if (reason instanceof Problem) return reason
  return new Problem(0, 'PAGE', reason instanceof Error ? reason.message : String(reason))
}
