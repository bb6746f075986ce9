/** The console: asks who is signed in, then shows the sign-in or the pages. */
import { render } from 'preact'
import { useCallback, useEffect, useState } from 'preact/hooks'
import { get, onChallenge } from './api/client.ts'
import { setRights } from './api/rights.ts'
import { signOut } from './api/sign-in.ts'
import type { Me, User } from './api/types.ts'
import { PageOf } from './pages/page-of.tsx'
import { SignIn } from './pages/sign-in.tsx'
import { Guard } from './ui/guard.tsx'
import { LiveProvider } from './ui/live.tsx'
import { Notices } from './ui/notices.tsx'
import { readRoute } from './ui/routes.ts'
import { Shell } from './ui/shell.tsx'
import { Empty, Failure } from './ui/states.tsx'
import { StepUpDialog, type StepUpQuestion } from './ui/step-up.tsx'
import { toProblem } from './ui/use-resource.ts'

type Session =
  | { readonly state: 'unknown' }
  | { readonly state: 'out' }
  | { readonly state: 'refused' }
  | { readonly state: 'in'; readonly me: Me }
  | { readonly state: 'failed'; readonly text: string }

function App() {
  const [session, setSession] = useState<Session>({ state: 'unknown' })
  const [question, setQuestion] = useState<StepUpQuestion>()
  const [route, setRoute] = useState(readRoute)
  const load = useCallback(() => {
    readMe()
      .then((me) => {
        keepHint(true)
        setRights(me.permissions, me.parts)
        setSession({ state: 'in', me })
      })
      .catch((reason: unknown) => {
        const { status, message } = toProblem(reason)
        if (status === 401) setSession({ state: 'out' })
        else if (status === 403) setSession({ state: 'refused' })
        // Who looks at a page keeps it while the server is away.
        else setSession((now) => (now.state === 'in' ? now : { state: 'failed', text: message }))
      })
  }, [])
  const leave = useCallback(() => {
    keepHint(false)
    setSession({ state: 'out' })
  }, [])

  useEffect(() => {
    onChallenge({
      signedOut: leave,
      stepUp: (needsPasskey) =>
        new Promise((resolve) => {
          const answer = (isShown: boolean) => {
            setQuestion(undefined)
            resolve(isShown)
          }
          setQuestion({ needsPasskey, answer })
        }),
    })
    if (hasHint()) load()
    else leave()
    const onHash = () => setRoute(readRoute())
    // Another tab has signed in or out; they share the cookies.
    const onStorage = ({ key }: StorageEvent) => {
      if (key === HINT) (hasHint() ? load : leave)()
    }
    addEventListener('hashchange', onHash)
    addEventListener('storage', onStorage)
    return () => {
      removeEventListener('hashchange', onHash)
      removeEventListener('storage', onStorage)
    }
  }, [])

  return (
    <>
      {viewOf(session, route, load, leave)}
      {question && <StepUpDialog question={question} />}
      <Notices />
    </>
  )
}

function viewOf(
  session: Session,
  [page, id]: readonly [string, string],
  load: () => void,
  leave: () => void,
) {
  if (session.state === 'unknown') {
    return (
      <main class="sign-in" aria-busy="true">
        <h1 class="visually-hidden">The console is loading</h1>
      </main>
    )
  }
  if (session.state === 'out') return <SignIn onDone={load} />
  if (session.state === 'failed') {
    return (
      <main class="sign-in">
        <h1 class="visually-hidden">The console cannot be shown</h1>
        <Failure text={session.text} onRetry={load} />
      </main>
    )
  }
  if (session.state === 'refused') {
    const text = 'Your account may not read what the console shows. Ask an administrator.'
    return (
      <main class="sign-in">
        <h1 class="visually-hidden">Not allowed</h1>
        <Empty icon="access" title="Not allowed" text={text}>
          <div class="button-row">
            <button type="button" class="button" onClick={load}>
              Try again
            </button>
            <button type="button" class="button" onClick={() => void signOut().finally(leave)}>
              Sign out
            </button>
          </div>
        </Empty>
      </main>
    )
  }
  return (
    <LiveProvider onDoubt={load}>
      <Shell me={session.me} page={page} id={id} onSignedOut={leave}>
        <Guard key={`${page}/${id}`}>
          <PageOf page={page} id={id} me={session.me} />
        </Guard>
      </Shell>
    </LiveProvider>
  )
}

/** Who uses the console; the name is decoration. */
async function readMe(): Promise<Me> {
  const me = await get<Me>('/console/me')
  const user = await get<User>('/users/me').catch(() => undefined)
  return { ...me, name: user?.displayName ?? '' }
}

/** Whether there may be a session: its cookies cannot be read, and a request without them would be refused. */
const HINT = 'parapet-session'

function hasHint(): boolean {
  return localStorage.getItem(HINT) !== null
}

function keepHint(isSignedIn: boolean): void {
  if (isSignedIn) localStorage.setItem(HINT, '1')
  else localStorage.removeItem(HINT)
}

render(
  <Guard>
    <App />
  </Guard>,
  document.querySelector('#app')!,
)
