/** The frame of the console: navigation, state of the service, theme, account. */
import type { ComponentChildren } from 'preact'
import { useEffect, useRef, useState } from 'preact/hooks'
import { may } from '../api/rights.ts'
import { signOut } from '../api/sign-in.ts'
import type { Me } from '../api/types.ts'
import { Icon, Mark } from './icons.tsx'
import { useLive } from './live.tsx'
import { linkTo, NAVIGATION, type PageEntry } from './routes.ts'
import { chooseTheme, useTheme } from './use-theme.ts'

/** The frame around a page. */
export function Shell({
  me,
  page,
  id,
  onSignedOut,
  children,
}: {
  readonly me: Me
  readonly page: string
  readonly id: string
  readonly onSignedOut: () => void
  readonly children: ComponentChildren
}) {
  const [isOpen, setOpen] = useState(false)
  const main = useRef<HTMLElement>(null)
  const isFirst = useRef(true)
  useEffect(() => {
    setOpen(false)
    // A screen reader must hear that the page has changed; at the first load, the browser says it. A page
    // that still loads has no heading yet.
    if (!isFirst.current) {
      const heading = main.current?.querySelector<HTMLElement>('h1')
      ;(heading ?? main.current)?.focus()
    }
    isFirst.current = false
    main.current?.scrollTo(0, 0)
  }, [page, id])
  return (
    <div class="shell">
      <a class="skip" href="#main" onClick={(event) => skipTo(event, main.current)}>
        Skip to the content
      </a>
      <header class="side">
        <div class="side-head">
          <a class="brand" href={linkTo('')}>
            <Mark /> Parapet
          </a>
          <LiveDot />
          <button
            type="button"
            class="icon-button side-toggle"
            aria-expanded={isOpen}
            aria-controls="navigation"
            aria-label="Menu"
            onClick={() => setOpen(!isOpen)}
          >
            <Icon name={isOpen ? 'cross' : 'menu'} />
          </button>
        </div>
        <div id="navigation" class={isOpen ? 'side-body side-open' : 'side-body'}>
          <Navigation page={page} />
          <div class="side-foot">
            <p class="who">
              <b title={me.id}>{me.name === '' ? me.id.slice(-8) : me.name}</b>
              <span>{me.roles.join(', ')}</span>
            </p>
            <ThemeButton />
            <button
              type="button"
              class="icon-button"
              aria-label="Sign out"
              onClick={() => void signOut().finally(onSignedOut)}
            >
              <Icon name="out" />
            </button>
          </div>
        </div>
      </header>
      <main id="main" ref={main} class="main" tabIndex={-1}>
        {children}
      </main>
    </div>
  )
}

/** The hash names the page, so the link moves the focus itself. */
function skipTo(event: Event, target: HTMLElement | null): void {
  event.preventDefault()
  target?.focus()
}

function Navigation({ page }: { readonly page: string }) {
  return (
    <nav aria-label="Pages">
      {NAVIGATION.map(({ title, pages }) => (
        <div key={title} class="nav-group">
          <p class="nav-title">{title}</p>
          <ul>
            {pages.filter(isOffered).map((entry) => (
              <li key={entry.path}>
                <a
                  class="nav-link"
                  href={linkTo(entry.path)}
                  aria-current={entry.path === page ? 'page' : undefined}
                >
                  <Icon name={entry.icon} />
                  {entry.title}
                </a>
              </li>
            ))}
          </ul>
        </div>
      ))}
    </nav>
  )
}

/** A page whose data the server would refuse is not offered. */
function isOffered({ permission }: PageEntry): boolean {
  return permission === undefined || may(permission)
}

const STATES = { connecting: 'connecting', live: 'live', retrying: 'reconnecting' } as const

/** Whether events arrive. */
function LiveDot() {
  const { state } = useLive()
  return (
    <span class={`live live-${state}`} role="status">
      <span class="live-dot" aria-hidden="true" />
      {STATES[state]}
    </span>
  )
}

function ThemeButton() {
  const next = useTheme() === 'light' ? 'dark' : 'light'
  return (
    <button
      type="button"
      class="icon-button"
      aria-label={`Use the ${next} theme`}
      onClick={() => chooseTheme(next)}
    >
      <Icon name={next === 'light' ? 'sun' : 'moon'} />
    </button>
  )
}
