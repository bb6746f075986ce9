/** Every route against every role, and why a role has a permission or not. */
import { useState } from 'preact/hooks'
import { get } from '../api/client.ts'
import type { AccessExplanation, AccessMatrix } from '../api/types.ts'
import { Dialog } from '../ui/dialog.tsx'
import { PageHead, Panel } from '../ui/panel.tsx'
import { SelectField } from '../ui/select-field.tsx'
import { Empty, Loaded } from '../ui/states.tsx'
import { useResource } from '../ui/use-resource.ts'

type Row = AccessMatrix['rows'][number]

const SIGNS: Readonly<Record<string, string>> = { allow: '●', conditional: '◐', deny: '–' }
const WORDS: Readonly<Record<string, string>> = {
  allow: 'allowed',
  conditional: 'depends on the resource',
  deny: 'denied',
}

/** The page. */
export function Access() {
  const matrix = useResource(() => get<AccessMatrix>('/console/access'))
  const [text, setText] = useState('')
  const [asked, setAsked] = useState<{ role: string; permission: string }>()
  return (
    <>
      <PageHead
        title="Access"
        text="Which role may call which route, computed from the policy in force."
      />
      <Loaded resource={matrix} rows={12}>
        {(data) => (
          <>
            <Explain matrix={data} onAsk={setAsked} />
            <div class="filters">
              <label class="field field-grow">
                <span class="field-label">Routes that contain</span>
                <input
                  class="input"
                  type="search"
                  placeholder="users, DELETE, audit:read"
                  value={text}
                  onInput={({ currentTarget }) => setText(currentTarget.value)}
                />
              </label>
              <p class="legend">
                <span>● allowed</span> <span>◐ depends on the resource</span> <span>– denied</span>
              </p>
            </div>
            <Matrix matrix={data} text={text} onAsk={setAsked} />
            <p class="foot">
              Policy <code>{data.policyDigest.slice(0, 16)}</code>, revision {data.revision}
            </p>
          </>
        )}
      </Loaded>
      {asked && <ExplainDialog {...asked} onClose={() => setAsked(undefined)} />}
    </>
  )
}

type Ask = (asked: { role: string; permission: string }) => void

function Explain({ matrix, onAsk }: { readonly matrix: AccessMatrix; readonly onAsk: Ask }) {
  const [role, setRole] = useState(matrix.roles[0] ?? '')
  const [permission, setPermission] = useState(matrix.permissions[0] ?? '')
  return (
    <Panel title="Explain">
      <form
        class="filters"
        onSubmit={(event) => {
          event.preventDefault()
          onAsk({ role, permission })
        }}
      >
        <SelectField label="Why may" value={role} onValue={setRole}>
          {matrix.roles.map((each) => (
            <option key={each}>{each}</option>
          ))}
        </SelectField>
        <SelectField label="do" value={permission} onValue={setPermission}>
          {matrix.permissions.map((each) => (
            <option key={each}>{each}</option>
          ))}
        </SelectField>
        <button type="submit" class="button button-primary">
          Explain
        </button>
      </form>
    </Panel>
  )
}

function Matrix({
  matrix: { roles, rows, permissions },
  text,
  onAsk,
}: {
  readonly matrix: AccessMatrix
  readonly text: string
  readonly onAsk: Ask
}) {
  const words = text.toLowerCase().trim()
  const shown = rows
    .filter(({ method }) => method !== 'HEAD')
    .filter(({ method, url, rule }) => `${method} ${url} ${rule}`.toLowerCase().includes(words))
  if (shown.length === 0)
    return <Empty icon="search" title="No such route" text="Try other words." />
  return (
    <div class="panel panel-flush scroll" tabIndex={0} role="region" aria-label="Routes and roles">
      <table class="table matrix">
        <thead>
          <tr>
            <th scope="col">Route</th>
            {['anonymous', ...roles].map((role) => (
              <th key={role} scope="col" class="matrix-role">
                {role}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {shown.map((row) => (
            <tr key={`${row.method} ${row.url}`}>
              <th scope="row">
                <span class={`method method-${row.method}`}>{row.method}</span>{' '}
                <code>{row.url}</code>
                <span class="line-sub">{row.rule}</span>
              </th>
              <td class={`cell cell-${row.anonymous}`}>
                <Sign right={row.anonymous} />
              </td>
              {roles.map((role) => (
                <RoleCell
                  key={role}
                  row={row}
                  role={role}
                  permissions={permissions}
                  onAsk={onAsk}
                />
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  )
}

function RoleCell({
  row,
  role,
  permissions,
  onAsk,
}: {
  readonly row: Row
  readonly role: string
  readonly permissions: readonly string[]
  readonly onAsk: Ask
}) {
  const right = row.roles[role] ?? 'deny'
  const permission = permissions.find((name) => row.rule.includes(name))
  return (
    <td class={`cell cell-${right}`}>
      {permission === undefined ? (
        <Sign right={right} />
      ) : (
        <button
          type="button"
          class="cell-button"
          aria-label={`${role}, ${row.method} ${row.url}: ${WORDS[right] ?? right}. Explain`}
          onClick={() => onAsk({ role, permission })}
        >
          <span aria-hidden="true">{SIGNS[right]}</span>
        </button>
      )}
    </td>
  )
}

function Sign({ right }: { readonly right: string }) {
  return (
    <>
      <span aria-hidden="true">{SIGNS[right]}</span>
      <span class="visually-hidden">{WORDS[right] ?? right}</span>
    </>
  )
}

function ExplainDialog({
  role,
  permission,
  onClose,
}: {
  readonly role: string
  readonly permission: string
  readonly onClose: () => void
}) {
  const query = new URLSearchParams({ role, permission })
  const explained = useResource(() => get<AccessExplanation>(`/console/access/explain?${query}`))
  return (
    <Dialog title={`${role} and ${permission}`} onClose={onClose}>
      <Loaded resource={explained} rows={4}>
        {({ allowed, text, grants, nearestMisses }) => (
          <>
            <p class={allowed ? 'verdict-allowed' : 'verdict-denied'}>
              {allowed ? 'Allowed' : 'Not without more'}
            </p>
            <p class="dialog-text">{text}</p>
            {grants.length > 0 && (
              <ul class="sentences">
                {grants.map(({ path, grant, condition }) => (
                  <li key={path.join() + grant}>
                    {path.join(' → ')} grants <code>{grant}</code>
                    {condition !== undefined && (
                      <>
                        {' if '}
                        <code>{condition}</code>
                      </>
                    )}
                  </li>
                ))}
              </ul>
            )}
            {nearestMisses.length > 0 && (
              <>
                <h3>What is missing</h3>
                <ul class="sentences">
                  {nearestMisses.map((miss) => (
                    <li key={miss}>{miss}</li>
                  ))}
                </ul>
              </>
            )}
          </>
        )}
      </Loaded>
    </Dialog>
  )
}
