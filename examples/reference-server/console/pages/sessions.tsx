/** Sessions: the own ones, and those of a user who is searched for. */
import { useState } from 'preact/hooks'
import { get, send } from '../api/client.ts'
import { may } from '../api/rights.ts'
import type { Me, Session, User } from '../api/types.ts'
import { ActionButton } from '../ui/action-button.tsx'
import { Ago, Day } from '../ui/moment.tsx'
import { PageHead, Panel } from '../ui/panel.tsx'
import { Empty, Loaded } from '../ui/states.tsx'
import { useResource } from '../ui/use-resource.ts'

/** The page. */
export function Sessions({ me }: { readonly me: Me }) {
  const [user, setUser] = useState<User>()
  const own = useResource(() => get<{ sessions: Session[] }>('/auth/sessions'))
  return (
    <>
      <PageHead
        title="Sessions"
        text="Who is signed in, from where, and with which factors. A session that is ended here ends on every instance."
      >
        <ActionButton
          done="Your other sessions have ended"
          confirm="Everything else that is signed in with your account is signed out."
          run={() => send('DELETE', '/auth/sessions').then(own.reload)}
        >
          End my other sessions
        </ActionButton>
      </PageHead>
      <div class="two-columns">
        <Panel title="Yours">
          <Loaded resource={own} rows={3}>
            {({ sessions }) => (
              <SessionList
                sessions={sessions}
                canEnd
                onEnd={(id) =>
                  send('DELETE', `/auth/sessions/${encodeURIComponent(id)}`).then(own.reload)
                }
              />
            )}
          </Loaded>
        </Panel>
        {me.permissions.includes('users:list') && (
          <Panel title="Of a user">
            <Users chosen={user} onChoose={setUser} />
            {user !== undefined && <UserSessions key={user.id} user={user} />}
          </Panel>
        )}
      </div>
    </>
  )
}

interface UserPage {
  readonly items: readonly User[]
  readonly nextCursor?: string
}

const readUsers = (cursor: string | null) =>
  get<UserPage>(`/users?limit=100${cursor === null ? '' : `&cursor=${encodeURIComponent(cursor)}`}`)

function Users({
  chosen,
  onChoose,
}: {
  readonly chosen: User | undefined
  readonly onChoose: (user: User) => void
}) {
  const first = useResource(() => readUsers(null))
  const [more, setMore] = useState<readonly UserPage[]>([])
  const [text, setText] = useState('')
  return (
    <Loaded resource={first} rows={3}>
      {(page) => {
        const pages = [page, ...more]
        const { nextCursor } = pages.at(-1)!
        const users = pages.flatMap(({ items }) => items)
        const words = text.toLowerCase().trim()
        const found = users.filter(({ displayName, email }) =>
          `${displayName} ${email}`.toLowerCase().includes(words),
        )
        return (
          <>
            <label class="field pad">
              <span class="field-label">Name or address</span>
              <input
                class="input"
                type="search"
                value={text}
                onInput={({ currentTarget }) => setText(currentTarget.value)}
              />
            </label>
            <ul class="people">
              {found.map((user) => (
                <Person
                  key={user.id}
                  user={user}
                  isChosen={user.id === chosen?.id}
                  onChoose={onChoose}
                />
              ))}
            </ul>
            {found.length === 0 && <p class="line-sub pad">Nobody among {users.length} users.</p>}
            {nextCursor !== undefined && (
              <div class="pad">
                <ActionButton
                  run={async () => {
                    const next = await readUsers(nextCursor)
                    setMore((known) => [...known, next])
                  }}
                >
                  More users
                </ActionButton>
              </div>
            )}
          </>
        )
      }}
    </Loaded>
  )
}

function Person({
  user,
  isChosen,
  onChoose,
}: {
  readonly user: User
  readonly isChosen: boolean
  readonly onChoose: (user: User) => void
}) {
  return (
    <li>
      <button type="button" class="person" aria-pressed={isChosen} onClick={() => onChoose(user)}>
        <span class="avatar" aria-hidden="true">
          {String.fromCodePoint(user.displayName.codePointAt(0) ?? 32).toUpperCase()}
        </span>
        <span class="line-main">
          {user.displayName}
          <span class="line-sub">{user.email}</span>
        </span>
        <span class="line-sub">{user.roles?.join(', ')}</span>
      </button>
    </li>
  )
}

function UserSessions({ user }: { readonly user: User }) {
  const path = `/console/users/${encodeURIComponent(user.id)}/sessions`
  const sessions = useResource(() => get<{ items: Session[] }>(path))
  return (
    <>
      <h3>Sessions of {user.displayName}</h3>
      <Loaded resource={sessions} rows={2}>
        {({ items }) =>
          items.length === 0 ? (
            <Empty icon="sessions" title="Not signed in" text="This user has no session." />
          ) : (
            <SessionList
              sessions={items}
              canEnd={may('security:write')}
              onEnd={(id) =>
                send('DELETE', `${path}/${encodeURIComponent(id)}`).then(sessions.reload)
              }
            />
          )
        }
      </Loaded>
    </>
  )
}

function SessionList({
  sessions,
  canEnd,
  onEnd,
}: {
  readonly sessions: readonly Session[]
  readonly canEnd: boolean
  readonly onEnd: (id: string) => Promise<unknown>
}) {
  return (
    <ul class="lines">
      {sessions.map(({ id, ip, userAgent, label, amr, lastSeenAt, expiresAt, current }) => (
        <li key={id} class="line">
          <span class="line-main">
            <span title={userAgent}>
              {label ?? deviceOf(userAgent)}{' '}
              {current === true && <span class="tag tag-now">this one</span>}
            </span>
            <span class="line-sub">
              <code>{ip ?? 'unknown address'}</code> · seen <Ago time={lastSeenAt} /> · ends{' '}
              <Day time={expiresAt} />
            </span>
            <span class="factors">
              {amr.map((method) => (
                <span key={method} class="chip">
                  {METHODS[method] ?? method}
                </span>
              ))}
            </span>
          </span>
          {current !== true && canEnd && (
            <ActionButton
              label={`End the session of ${label ?? deviceOf(userAgent)}, ${id.slice(0, 6)}`}
              done="The session has ended"
              run={() => onEnd(id)}
            >
              End
            </ActionButton>
          )}
        </li>
      ))}
    </ul>
  )
}

/** RFC 8176 in words. */
const METHODS: Readonly<Record<string, string>> = {
  pwd: 'password',
  otp: 'code',
  hwk: 'passkey',
  swk: 'passkey',
  mfa: 'two factors',
  user: 'user verified',
  imp: 'impersonated',
}

/** The browser and the system, as far as a user agent tells. */
function deviceOf(userAgent = ''): string {
  const browser = /(Firefox|Edg|OPR|Chrome|Safari|curl|node)/.exec(userAgent)?.[1]
  const system = /(Windows|Mac OS X|Android|iPhone|iPad|Linux)/.exec(userAgent)?.[1]
  const name = browser === 'Edg' ? 'Edge' : browser === 'OPR' ? 'Opera' : browser
  return [name ?? 'Unknown client', system].filter((part) => part !== undefined).join(' on ')
}
