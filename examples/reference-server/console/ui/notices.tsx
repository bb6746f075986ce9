/** Short messages at the edge of the page, which a screen reader hears. */
import { useEffect, useState } from 'preact/hooks'
import { Icon } from './icons.tsx'

interface Notice {
  readonly id: number
  readonly text: string
  readonly isError: boolean
}

const SHOWN_MS = 6000
let listener: (notice: Notice) => void = () => {}
let nextId = 0

/** Shows a message. */
export function notify(text: string, isError = false): void {
  listener({ id: nextId++, text, isError })
}

/** Where messages appear. Render it once. */
export function Notices() {
  const [notices, setNotices] = useState<readonly Notice[]>([])
  const close = (id: number) => setNotices((shown) => shown.filter((notice) => notice.id !== id))
  useEffect(() => {
    listener = (notice) => {
      setNotices((shown) => [...shown.slice(-2), notice])
      // What went wrong stays until it was read.
      if (!notice.isError) setTimeout(() => close(notice.id), SHOWN_MS)
    }
    return () => void (listener = () => {})
  }, [])
  const list = (isError: boolean) =>
    notices
      .filter((notice) => notice.isError === isError)
      .map(({ id, text }) => (
        <p key={id} class={isError ? 'notice notice-error' : 'notice'}>
          <Icon name={isError ? 'cross' : 'check'} size={16} />
          <span class="notice-text">{text}</span>
          <button
            type="button"
            class="icon-button"
            aria-label={`Close: ${text}`}
            onClick={() => close(id)}
          >
            <Icon name="cross" size={14} />
          </button>
        </p>
      ))
  return (
    <div class="notices">
      <div role="status">{list(false)}</div>
      <div role="alert">{list(true)}</div>
    </div>
  )
}
