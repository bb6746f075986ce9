/** Whether the parts that the service needs are up. */
import { useEffect, useState } from 'preact/hooks'
import type { Ready } from '../api/types.ts'
import { Icon } from '../ui/icons.tsx'
import { formatWords } from '../ui/format.ts'

const INTERVAL_MS = 20_000

/** One pill for each dependency of `/ready`. */
export function Health() {
  const [ready, setReady] = useState<Ready | null>()
  useEffect(() => {
    const load = () =>
      fetch('/ready', { credentials: 'omit', signal: AbortSignal.timeout(INTERVAL_MS) })
        // A server that is not ready answers 503 with the same members.
        .then((response) => response.json() as Promise<Ready>)
        .then(setReady)
        .catch(() => setReady(null))
    void load()
    const timer = setInterval(() => void load(), INTERVAL_MS)
    return () => clearInterval(timer)
  }, [])
  const states = Object.entries(ready ?? {}).filter(([, state]) => typeof state === 'string')
  return (
    <ul class="health" aria-label="State of the service">
      {ready === undefined && <li class="pill">checking</li>}
      {ready === null && <Pill name="server" state="down" />}
      {states.map(([name, state]) => (
        <Pill key={name} name={formatWords(splitWords(name))} state={String(state)} />
      ))}
    </ul>
  )
}

/** Dependencies are up or down; the load is normal or high. */
const GOOD = new Set(['up', 'normal'])

function Pill({ name, state }: { readonly name: string; readonly state: string }) {
  const isGood = GOOD.has(state)
  return (
    <li class={isGood ? 'pill pill-up' : 'pill pill-down'}>
      <Icon name={isGood ? 'check' : 'cross'} size={14} />
      {name} {isGood ? <span class="visually-hidden">is {state}</span> : `is ${state}`}
    </li>
  )
}

function splitWords(name: string): string {
  return name.replaceAll(/[A-Z]/g, (letter) => ` ${letter.toLowerCase()}`)
}
