/** Requests of data subjects, with their deadlines. The routes are those of `@parapet/privacy`. */
import { useState } from 'preact/hooks'
import { get, send } from '../api/client.ts'
import { requirePart, requireRight } from '../api/rights.ts'
import { ActionButton } from '../ui/action-button.tsx'
import { Bar } from '../ui/bar.tsx'
import { Dialog } from '../ui/dialog.tsx'
import { formatDuration, formatWords } from '../ui/format.ts'
import { useOnEvent } from '../ui/live.tsx'
import { Ago } from '../ui/moment.tsx'
import { PageHead } from '../ui/panel.tsx'
import { Segments } from '../ui/segments.tsx'
import { Empty, Loaded } from '../ui/states.tsx'
import { toProblem, useResource } from '../ui/use-resource.ts'

interface PrivacyRequest {
  readonly id: string
  readonly type: string
  readonly state: string
  readonly openedAt: number
  readonly dueAt: number
  readonly parts: readonly {
    readonly name: string
    readonly kind: string
    readonly status: string
  }[]
}

const PATH = '/privacy/admin/requests'
/** States in which the person has an answer, so that the deadline does not count any more. */
const ANSWERED = new Set(['ready', 'completed', 'rejected', 'withdrawn', 'expired'])
/** What an officer can decide in a state; anything else is refused with a conflict. */
const DECISIONS: Readonly<Record<string, readonly string[]>> = {
  open: ['approve', 'reject'],
  held: ['reject'],
  partial: ['retry'],
}

/** The page. */
export function Privacy() {
  const [rejecting, setRejecting] = useState<PrivacyRequest>()
  const [state, setState] = useState<'open' | 'closed'>('open')
  const requests = useResource(async () => {
    requirePart('privacy')
    requireRight('privacy:manage')
    return get<{ items: PrivacyRequest[] }>(`${PATH}?limit=100&state=${state}`)
  }, state)
  useOnEvent('privacy.', requests.reload)
  return (
    <>
      <PageHead
        title="Privacy requests"
        text="Access, portability, rectification, restriction, objection and erasure, each within its month."
      >
        <Segments label="Which requests" value={state} onValue={setState} />
      </PageHead>
      <Loaded resource={requests} absent="This server runs without the privacy plugin.">
        {({ items }) =>
          items.length === 0 ? (
            <Empty
              icon="privacy"
              title={state === 'open' ? 'No open request' : 'No closed request'}
              text="Requests of users appear here with their deadline."
            />
          ) : (
            <ul class="cards">
              {items.map((request) => (
                <RequestCard
                  key={request.id}
                  request={request}
                  onChange={requests.reload}
                  onReject={() => setRejecting(request)}
                />
              ))}
            </ul>
          )
        }
      </Loaded>
      {rejecting && (
        <RejectDialog
          request={rejecting}
          onClose={() => setRejecting(undefined)}
          onDone={() => {
            setRejecting(undefined)
            requests.reload()
          }}
        />
      )}
    </>
  )
}

function RequestCard({
  request,
  onChange,
  onReject,
}: {
  readonly request: PrivacyRequest
  readonly onChange: () => void
  readonly onReject: () => void
}) {
  const { type, state, openedAt, parts } = request
  const isAnswered = ANSWERED.has(state)
  return (
    <li class={isAnswered ? 'card card-settled' : 'card'}>
      <div class="card-head">
        <span class="tag">{formatWords(state)}</span>
        <span class="card-age">
          <Ago time={openedAt} />
        </span>
      </div>
      <h2 class="card-title">{formatWords(type).replace(/^./, (first) => first.toUpperCase())}</h2>
      {!isAnswered && <Due request={request} />}
      {parts.length > 0 && (
        <ul class="targets">
          {parts.map(({ name, kind, status }) => (
            <li key={`${kind} ${name}`} class={`chip chip-${status}`}>
              {name} <b>{formatWords(status)}</b>
            </li>
          ))}
        </ul>
      )}
      <Decisions request={request} onChange={onChange} onReject={onReject} />
    </li>
  )
}

function Due({ request: { openedAt, dueAt } }: { readonly request: PrivacyRequest }) {
  const left = dueAt - Date.now()
  return (
    <div class="due">
      <span class={left < 0 ? 'deadline deadline-over' : 'deadline'}>
        {left < 0 ? `Overdue for ${formatDuration(-left)}` : `Due in ${formatDuration(left)}`}
      </span>
      <Bar share={1 - left / (dueAt - openedAt)} color={left < 0 ? 'critical' : 'accent'} />
    </div>
  )
}

function Decisions({
  request: { id, type, state },
  onChange,
  onReject,
}: {
  readonly request: PrivacyRequest
  readonly onChange: () => void
  readonly onReject: () => void
}) {
  const decisions = DECISIONS[state] ?? []
  if (decisions.length === 0) return null
  const act = (action: string) =>
    send('POST', `${PATH}/${encodeURIComponent(id)}/${action}`).then(onChange)
  return (
    <div class="card-foot">
      {decisions.includes('approve') && (
        <ActionButton
          kind="primary"
          label={`Approve the ${type} request`}
          done="Approved"
          run={() => act('approve')}
        >
          Approve
        </ActionButton>
      )}
      {decisions.includes('retry') && (
        <ActionButton
          label={`Try the ${type} request again`}
          done="Tried again"
          run={() => act('retry')}
        >
          Try again
        </ActionButton>
      )}
      {decisions.includes('reject') && (
        <button
          type="button"
          class="button button-quiet"
          aria-label={`Reject the ${type} request`}
          onClick={onReject}
        >
          Reject
        </button>
      )}
    </div>
  )
}

function RejectDialog({
  request,
  onClose,
  onDone,
}: {
  readonly request: PrivacyRequest
  readonly onClose: () => void
  readonly onDone: () => void
}) {
  const [reason, setReason] = useState('')
  const [error, setError] = useState('')
  return (
    <Dialog title={`Reject the ${formatWords(request.type)} request`} onClose={onClose}>
      <form
        class="stack"
        onSubmit={(event) => {
          event.preventDefault()
          send('POST', `${PATH}/${encodeURIComponent(request.id)}/reject`, {
            reason: reason.trim(),
          })
            .then(onDone)
            .catch((cause: unknown) => setError(toProblem(cause).message))
        }}
      >
        <label class="field">
          <span class="field-label">Reason, which the person is sent</span>
          <input
            class="input"
            required
            maxLength={500}
            value={reason}
            onInput={({ currentTarget }) => setReason(currentTarget.value)}
          />
          <span class="field-error" role="alert">
            {error}
          </span>
        </label>
        <button type="submit" class="button button-danger">
          Reject
        </button>
      </form>
    </Dialog>
  )
}
