/** Loading, error and empty states. They take the place of the content, so that nothing jumps. */
import type { ComponentChildren } from 'preact'
import { Icon, type IconName } from './icons.tsx'
import type { Resource } from './use-resource.ts'

/** Shows a resource, or what is in its place. */
export function Loaded<T>({
  resource,
  rows = 6,
  absent,
  children,
}: {
  readonly resource: Resource<T>
  /** How many lines of the skeleton. */
  readonly rows?: number
  /** What a 404 means here: the part is not installed. */
  readonly absent?: string
  readonly children: (data: T) => ComponentChildren
}) {
  const { data, error, reload } = resource
  if (data !== undefined) {
    return (
      <>
        {error && <Failure text={error.message} onRetry={reload} isStale />}
        {children(data)}
      </>
    )
  }
  if (error?.status === 404 && absent !== undefined) {
    return <Empty icon="feed" title="Not on this server" text={absent} />
  }
  if (error?.status === 403) {
    return <Empty icon="access" title="Not allowed" text={error.message} />
  }
  if (error) return <Failure text={error.message} onRetry={reload} />
  return <Skeleton rows={rows} />
}

/** Grey lines while something loads. */
function Skeleton({ rows }: { readonly rows: number }) {
  return (
    <div class="skeleton" role="status">
      <span class="visually-hidden">Loading</span>
      {Array.from({ length: rows }, (_, row) => (
        <div key={row} class="skeleton-line" />
      ))}
    </div>
  )
}

/** Nothing is there, and what that means. */
export function Empty({
  icon = 'check',
  title,
  text,
  children,
}: {
  readonly icon?: IconName
  readonly title: string
  readonly text: string
  readonly children?: ComponentChildren
}) {
  return (
    <div class="empty">
      <span class="empty-icon">
        <Icon name={icon} size={22} />
      </span>
      <p class="empty-title">{title}</p>
      <p class="empty-text">{text}</p>
      {children}
    </div>
  )
}

/** What went wrong, and a way to try again. */
export function Failure({
  text,
  onRetry,
  isStale = false,
}: {
  readonly text: string
  readonly onRetry: () => void
  readonly isStale?: boolean
}) {
  return (
    <div class="failure" role="alert">
      <p>
        {text}
        {isStale && ' The last known state is shown.'}
      </p>
      <button type="button" class="button" onClick={onRetry}>
        <Icon name="refresh" size={16} /> Try again
      </button>
    </div>
  )
}
