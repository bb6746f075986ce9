/** The audit trail: search, export, and a verification that this browser does itself. */
import { useEffect, useState } from 'preact/hooks'
import { exportUrl, readAudit, type AuditFilters, type AuditPage } from '../api/audit.ts'
import type { PlacedRecord } from '../api/types.ts'
import { ActionButton } from '../ui/action-button.tsx'
import { Dialog } from '../ui/dialog.tsx'
import { Facts } from '../ui/facts.tsx'
import { Icon } from '../ui/icons.tsx'
import { Instant } from '../ui/moment.tsx'
import { PageHead } from '../ui/panel.tsx'
import { SelectField } from '../ui/select-field.tsx'
import { Empty, Loaded } from '../ui/states.tsx'
import { useResource } from '../ui/use-resource.ts'
import { VerifiedBadge } from './verified-badge.tsx'

const NOTHING: AuditFilters = { action: '', result: '', principal: '', ip: '', resourceId: '' }

/** The page. */
export function Audit() {
  const [filters, setFilters] = useState(NOTHING)
  const first = useResource(() => readAudit(filters), JSON.stringify(filters))
  const [older, setOlder] = useState<readonly AuditPage[]>([])
  // Older pages belong to the first one.
  useEffect(() => setOlder([]), [first.data])
  const pages = first.data === undefined ? [] : [first.data, ...older]
  return (
    <>
      <PageHead
        title="Audit trail"
        text="Who did what to which, and how it ended. Reading it is recorded, too."
      >
        <a class="button" href={exportUrl(filters, 'csv')} download>
          <Icon name="download" size={16} /> CSV
        </a>
        <a class="button" href={exportUrl(filters, 'ndjson')} download>
          <Icon name="download" size={16} /> NDJSON with proofs
        </a>
        <button type="button" class="button" onClick={first.reload}>
          <Icon name="refresh" size={16} /> Read again
        </button>
      </PageHead>
      <VerifiedBadge resource={first} pages={pages} />
      <SearchForm filters={filters} onFilters={setFilters} />
      <Loaded resource={first} rows={10}>
        {() => (
          <Records
            pages={pages}
            onMore={async () => {
              const page = await readAudit(filters, pages.at(-1))
              setOlder((known) => [...known, page])
            }}
          />
        )}
      </Loaded>
    </>
  )
}

function SearchForm({
  filters,
  onFilters,
}: {
  readonly filters: AuditFilters
  readonly onFilters: (filters: AuditFilters) => void
}) {
  const [draft, setDraft] = useState(filters)
  const text = (name: keyof AuditFilters, label: string, hint: string) => (
    <label class="field field-grow">
      <span class="field-label">{label}</span>
      <input
        class="input"
        name={name}
        placeholder={hint}
        maxLength={200}
        value={draft[name]}
        onInput={({ currentTarget }) => setDraft({ ...draft, [name]: currentTarget.value.trim() })}
      />
    </label>
  )
  return (
    <form
      class="filters"
      role="search"
      onSubmit={(event) => {
        event.preventDefault()
        onFilters(draft)
      }}
    >
      {text('action', 'Action', 'user.*')}
      {text('principal', 'Who', 'id of a principal')}
      {text('ip', 'From', 'address')}
      {text('resourceId', 'To what', 'id of a resource')}
      <SelectField
        label="Result"
        value={draft.result}
        onValue={(result) => setDraft({ ...draft, result })}
      >
        <option value="">any</option>
        <option>success</option>
        <option>failure</option>
        <option>unknown</option>
      </SelectField>
      <button type="submit" class="button button-primary">
        <Icon name="search" size={16} /> Search
      </button>
    </form>
  )
}

function Records({
  pages,
  onMore,
}: {
  readonly pages: readonly AuditPage[]
  readonly onMore: () => Promise<void>
}) {
  const [opened, setOpened] = useState<PlacedRecord>()
  if (pages.every(({ entries }) => entries.length === 0)) {
    return <Empty icon="search" title="No such record" text="Try fewer filters." />
  }
  const cursor = pages.at(-1)?.cursor ?? null
  return (
    <>
      <div class="panel panel-flush">
        <table class="table table-cards audit">
          <thead>
            <tr>
              <th scope="col">Entry</th>
              <th scope="col">When</th>
              <th scope="col">Action</th>
              <th scope="col">Who</th>
              <th scope="col">To what</th>
              <th scope="col">Result</th>
            </tr>
          </thead>
          <tbody>
            {pages.flatMap(({ entries, verification }) =>
              entries.map((entry) => (
                <RecordRow
                  key={entry.index}
                  entry={entry}
                  isIncluded={verification.records.get(entry.index)}
                  onOpen={() => setOpened(entry)}
                />
              )),
            )}
          </tbody>
        </table>
      </div>
      {cursor !== null && (
        <div class="more">
          <ActionButton run={onMore}>Older records</ActionButton>
        </div>
      )}
      {opened && (
        <Dialog title={opened.record.action} onClose={() => setOpened(undefined)} isWide>
          <Facts facts={{ ...opened.record, index: opened.index }} />
        </Dialog>
      )}
    </>
  )
}

function RecordRow({
  entry: { index, record },
  isIncluded,
  onOpen,
}: {
  readonly entry: PlacedRecord
  readonly isIncluded: boolean | undefined
  readonly onOpen: () => void
}) {
  const { action, result, principal, ip, resource, resourceId, route, time } = record
  const isEdited = isIncluded === false
  return (
    <tr class={isEdited ? 'row-refused' : ''}>
      <td data-label="Entry" class="cell-index">
        <InclusionMark isIncluded={isIncluded} /> <code>{index}</code>
      </td>
      <td data-label="When" class="cell-time">
        <Instant time={time} />
      </td>
      <th scope="row">
        <button
          type="button"
          class="link"
          aria-label={`${action}, entry ${index}`}
          onClick={onOpen}
        >
          {action}
        </button>
        {isEdited && <span class="line-sub">was edited after it was signed</span>}
      </th>
      <td data-label="Who">
        <Short value={principal} />
        <span class="line-sub">{textOf(ip)}</span>
      </td>
      <td data-label="To what">
        {resource ?? ''} <Short value={resourceId} />
        <span class="line-sub">{route}</span>
      </td>
      <td data-label="Result">
        <span class={`result result-${result}`}>{result}</span>
      </td>
    </tr>
  )
}

/** Whether the record is in the signed tree. */
function InclusionMark({ isIncluded }: { readonly isIncluded: boolean | undefined }) {
  if (isIncluded === undefined) return <span class="mark-pending" title="not in a checkpoint yet" />
  return (
    <span class={isIncluded ? 'mark-verified' : 'mark-refused'}>
      <Icon name={isIncluded ? 'check' : 'cross'} size={14} />
      <span class="visually-hidden">{isIncluded ? 'verified' : 'refused'}</span>
    </span>
  )
}

/** The end of an id; the whole is its title. */
function Short({ value }: { readonly value: unknown }) {
  return <code title={typeof value === 'string' ? value : undefined}>{textOf(value)}</code>
}

/** A text, or the pseudonym of one that can be erased. */
function textOf(value: unknown): string {
  if (typeof value === 'string') return value.length > 24 ? `…${value.slice(-12)}` : value
  if (typeof value !== 'object' || value === null) return ''
  return `subject ${String((value as { subject?: unknown }).subject).slice(0, 8)}`
}
