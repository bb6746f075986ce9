/** Keeps the rest of the console when a part of it cannot be drawn. */
import type { ComponentChildren } from 'preact'
import { useErrorBoundary } from 'preact/hooks'
import { Failure } from './states.tsx'

/** Shows its children, or why it cannot. */
export function Guard({ children }: { readonly children?: ComponentChildren }) {
  const [error, retry] = useErrorBoundary() as [unknown, () => void]
  if (error === undefined) return <>{children}</>
  return (
    <>
      <h1 tabIndex={-1}>This page cannot be shown</h1>
      <Failure
        text="The server returned something that this page does not understand."
        onRetry={retry}
      />
    </>
  )
}
