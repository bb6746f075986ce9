/** A titled part of a page. */
import type { ComponentChildren } from 'preact'
import { useId } from 'preact/hooks'

/** A panel. */
export function Panel({
  title,
  aside,
  children,
  class: name = '',
}: {
  readonly title: string
  /** Beside the title. */
  readonly aside?: ComponentChildren
  readonly children: ComponentChildren
  readonly class?: string
}) {
  const id = useId()
  return (
    <section class={`panel ${name}`} aria-labelledby={id}>
      <header class="panel-head">
        <h2 id={id}>{title}</h2>
        {aside !== undefined && <div class="panel-aside">{aside}</div>}
      </header>
      {children}
    </section>
  )
}

/** The head of a page. */
export function PageHead({
  title,
  text,
  children,
}: {
  readonly title: string
  readonly text: string
  readonly children?: ComponentChildren
}) {
  return (
    <div class="page-head">
      <div>
        <h1 tabIndex={-1}>{title}</h1>
        <p class="lede">{text}</p>
      </div>
      {children !== undefined && <div class="page-actions">{children}</div>}
    </div>
  )
}
