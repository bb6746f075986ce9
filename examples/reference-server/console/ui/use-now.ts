/** The time, again and again, so that what is relative to it stays true. */
import { useEffect, useState } from 'preact/hooks'

/** @param everyMs how often the component is drawn again */
export function useNow(everyMs: number): number {
  const [now, setNow] = useState(Date.now)
  useEffect(() => {
    const timer = setInterval(() => setNow(Date.now()), everyMs)
    return () => clearInterval(timer)
  }, [everyMs])
  return now
}
