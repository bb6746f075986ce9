/** What is in force: who, why, how long, and the way to end it. */
import { useState } from 'preact/hooks'
import { get, send } from '../api/client.ts'
import type { Containment, ContainmentPage } from '../api/types.ts'
import { ActionButton } from '../ui/action-button.tsx'
import { Bar } from '../ui/bar.tsx'
import { Dialog } from '../ui/dialog.tsx'
import {
  formatActor,
  formatCount,
  formatDuration,
  formatExact,
  formatWords,
  toIso,
} from '../ui/format.ts'
import { useOnEvent } from '../ui/live.tsx'
import { notify } from '../ui/notices.tsx'
import { PageHead } from '../ui/panel.tsx'
import { Reason } from '../ui/reason.tsx'
import { SelectField } from '../ui/select-field.tsx'
import { Empty, Loaded } from '../ui/states.tsx'
import { useNow } from '../ui/use-now.ts'
import { toProblem, useResource } from '../ui/use-resource.ts'

const TICK_MS = 1000
/** A short list is read faster than it is searched. */
const SEARCH_FROM = 12
/** Drawn again every second. */
const MAX_ROWS = 200

/** The page. */
export function Blocks({ canChange }: { readonly canChange: boolean }) {
  const [isAdding, setAdding] = useState(false)
  const [text, setText] = useState('')
  const query = `?limit=${MAX_ROWS}&contains=${encodeURIComponent(text.trim())}`
  const containments = useResource(
    () => get<ContainmentPage>(`/console/containments${query}`),
    query,
  )
  useOnEvent('anomaly_guard.', containments.reload)
  return (
    <>
      <PageHead
        title="Block list"
        text="Addresses, networks and accounts that are refused, slowed down or challenged. Each ends by itself."
      >
        {canChange && (
          <button type="button" class="button button-primary" onClick={() => setAdding(true)}>
            Block an address
          </button>
        )}
      </PageHead>
      <Loaded resource={containments}>
        {(page) =>
          page.total === 0 && text === '' ? (
            <Empty
              title="Nothing is blocked"
              text="Rules in mode “enforce” block by themselves; you can block an address."
            />
          ) : (
            <ContainmentTable
              page={page}
              text={text}
              onText={setText}
              canChange={canChange}
              onChange={containments.reload}
            />
          )
        }
      </Loaded>
      {isAdding && (
        <BlockDialog
          onClose={() => setAdding(false)}
          onDone={() => {
            setAdding(false)
            containments.reload()
          }}
        />
      )}
    </>
  )
}

function ContainmentTable({
  page: { items, total },
  text,
  onText,
  canChange,
  onChange,
}: {
  readonly page: ContainmentPage
  readonly text: string
  readonly onText: (text: string) => void
  readonly canChange: boolean
  readonly onChange: () => void
}) {
  const now = useNow(TICK_MS)
  return (
    <>
      {(total > SEARCH_FROM || text !== '') && (
        <div class="filters">
          <label class="field field-grow">
            <span class="field-label">Contains</span>
            <input
              class="input"
              type="search"
              placeholder="address, measure, reason"
              value={text}
              maxLength={64}
              onInput={({ currentTarget }) => onText(currentTarget.value)}
            />
          </label>
          <p class="legend" role="status">
            {formatCount(total)} found
          </p>
        </div>
      )}
      <div class="panel panel-flush">
        <table class="table table-cards">
          <thead>
            <tr>
              <th scope="col">Who</th>
              <th scope="col">Measure</th>
              <th scope="col">Why</th>
              <th scope="col">Ends in</th>
              <th scope="col">
                <span class="visually-hidden">Action</span>
              </th>
            </tr>
          </thead>
          <tbody>
            {items.map((item) => (
              <ContainmentRow
                key={item.id}
                item={item}
                now={now}
                canChange={canChange}
                onChange={onChange}
              />
            ))}
          </tbody>
        </table>
      </div>
      {total > items.length && (
        <p class="foot">The newest {items.length} are shown. Search for the others.</p>
      )}
    </>
  )
}

function ContainmentRow({
  item: { id, kind, target, reason, by, createdAt, until },
  now,
  canChange,
  onChange,
}: {
  readonly item: Containment
  readonly now: number
  readonly canChange: boolean
  readonly onChange: () => void
}) {
  return (
    <tr>
      <th scope="row">
        <code>{target.value === '' ? 'the whole service' : target.value}</code>
      </th>
      <td data-label="Measure">
        <span class={`tag tag-${kind}`}>{formatWords(kind)}</span>
      </td>
      <td data-label="Why">
        <Reason text={reason} />
        <span class="line-sub">{by === null ? 'by the guard' : `by ${formatActor(by)}`}</span>
      </td>
      <td data-label="Ends in" class="cell-time">
        <time dateTime={toIso(until)} title={formatExact(until)}>
          {formatDuration(until - now)}
        </time>
        <Bar share={(until - now) / (until - createdAt)} />
      </td>
      <td class="cell-action">
        {canChange && (
          <ActionButton
            label={`Unblock ${target.value}`}
            done={`${target.value === '' ? 'The measure' : target.value} is lifted`}
            run={() =>
              send('DELETE', `/security/containments/${encodeURIComponent(id)}`).then(onChange)
            }
          >
            Unblock
          </ActionButton>
        )}
      </td>
    </tr>
  )
}

function BlockDialog({
  onClose,
  onDone,
}: {
  readonly onClose: () => void
  readonly onDone: () => void
}) {
  const [address, setAddress] = useState('')
  const [reason, setReason] = useState('')
  const [ttlSeconds, setTtl] = useState('3600')
  const [error, setError] = useState('')
  const block = () =>
    send('POST', '/security/containments', {
      address: address.trim(),
      reason: reason.trim(),
      ttlSeconds: Number(ttlSeconds),
    })
      .then(() => {
        notify(`${address.trim()} is blocked`)
        onDone()
      })
      .catch((reason: unknown) => setError(toProblem(reason).message))
  return (
    <Dialog title="Block an address" onClose={onClose}>
      <form
        class="stack"
        onSubmit={(event) => {
          event.preventDefault()
          void block()
        }}
      >
        <label class="field">
          <span class="field-label">Address or network</span>
          <input
            class="input"
            name="address"
            placeholder="192.0.2.0/24"
            required
            maxLength={64}
            value={address}
            onInput={({ currentTarget }) => setAddress(currentTarget.value)}
          />
        </label>
        <label class="field">
          <span class="field-label">Reason, for the audit trail</span>
          <input
            class="input"
            name="reason"
            required
            maxLength={200}
            value={reason}
            onInput={({ currentTarget }) => setReason(currentTarget.value)}
          />
        </label>
        <SelectField label="For" value={ttlSeconds} onValue={setTtl}>
          <option value="900">15 minutes</option>
          <option value="3600">1 hour</option>
          <option value="86400">1 day</option>
          <option value="2592000">30 days</option>
        </SelectField>
        <p class="field-error" role="alert">
          {error}
        </p>
        <button type="submit" class="button button-danger">
          Block
        </button>
      </form>
    </Dialog>
  )
}
