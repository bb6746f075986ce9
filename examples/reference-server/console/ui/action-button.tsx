/** A button that runs something, says that it runs, and shows why it failed. */
import type { ComponentChildren } from 'preact'
import { useEffect, useRef, useState } from 'preact/hooks'
import { Dialog } from './dialog.tsx'
import { focusHeading } from './focus.ts'
import { notify } from './notices.tsx'
import { toProblem } from './use-resource.ts'

type Kind = '' | 'primary' | 'danger' | 'quiet'

/** A button with a task. */
export function ActionButton({
  run,
  done,
  children,
  kind = '',
  label,
  confirm,
}: {
  readonly run: () => Promise<unknown>
  /** What is announced after it. */
  readonly done?: string
  readonly children: ComponentChildren
  readonly kind?: Kind
  /** The accessible name, where the text alone is not unique. */
  readonly label?: string
  /** What cannot be taken back is asked first, with this text. */
  readonly confirm?: string
}) {
  const [isRunning, setRunning] = useState(false)
  const [isAsking, setAsking] = useState(false)
  const button = useRef<HTMLButtonElement>(null)
  // What was done often removes its button, and the focus must not be lost with it.
  useEffect(() => {
    const element = button.current
    return () => {
      if (document.activeElement === element) setTimeout(focusHeading)
    }
  }, [])
  const start = () => {
    setAsking(false)
    setRunning(true)
    run()
      .then(() => done !== undefined && notify(done))
      .catch((reason: unknown) => notify(toProblem(reason).message, true))
      .finally(() => setRunning(false))
  }
  const onClick = () => {
    if (isRunning) return
    if (confirm === undefined) start()
    else setAsking(true)
  }
  return (
    <>
      <button
        ref={button}
        type="button"
        class={`button ${kind === '' ? '' : `button-${kind}`}`}
        aria-label={label}
        aria-busy={isRunning}
        // A button that is disabled would lose the focus.
        aria-disabled={isRunning}
        onClick={onClick}
      >
        {children}
      </button>
      {isAsking && (
        <Dialog title={label ?? 'Are you sure?'} onClose={() => setAsking(false)}>
          <p class="dialog-text">{confirm}</p>
          <div class="button-row">
            <button type="button" class="button button-danger" onClick={start}>
              {children}
            </button>
            <button type="button" class="button" onClick={() => setAsking(false)}>
              Cancel
            </button>
          </div>
        </Dialog>
      )}
    </>
  )
}
