/** Anomalies with their reasons, and the rules that found them. */
import { useState } from 'preact/hooks'
import { get, send } from '../api/client.ts'
import type { Anomaly, Rule } from '../api/types.ts'
import { ActionButton } from '../ui/action-button.tsx'
import { formatCount, formatDuration, formatWords } from '../ui/format.ts'
import { useOnEvent } from '../ui/live.tsx'
import { Ago } from '../ui/moment.tsx'
import { notify } from '../ui/notices.tsx'
import { PageHead, Panel } from '../ui/panel.tsx'
import { RangeBar, readReason } from '../ui/range-bar.tsx'
import { linkTo } from '../ui/routes.ts'
import { SeverityMark } from '../ui/severity.tsx'
import { Empty, Loaded } from '../ui/states.tsx'
import { toProblem, useResource } from '../ui/use-resource.ts'

const MODES = ['shadow', 'alert', 'enforce'] as const

interface Loadable {
  readonly items: readonly Anomaly[]
  readonly learning: string | null
}

/** The page. */
export function Anomalies({ canChange }: { readonly canChange: boolean }) {
  const anomalies = useResource(() => get<Loadable>('/console/anomalies'))
  const rules = useResource(() => get<{ items: Rule[] }>('/security/rules'))
  useOnEvent('anomaly_guard.', () => {
    anomalies.reload()
    rules.reload()
  })
  return (
    <>
      <PageHead
        title="Anomalies"
        text="What does not fit: which measure, what is usual, and what was done because of it."
      />
      <div class="two-columns two-columns-wide">
        <Loaded resource={anomalies}>
          {({ items, learning }) => (
            <div class="column">
              {learning !== null && learning !== 'ready' && (
                <p class="hint">
                  The behaviour model still learns what is usual; until then, only the rules find
                  anomalies.
                </p>
              )}
              {items.length === 0 ? (
                <Empty title="No anomaly" text="Nothing unusual was found in the last day." />
              ) : (
                <ul class="cards cards-one">
                  {items.map((anomaly) => (
                    <AnomalyCard
                      key={anomaly.id}
                      anomaly={anomaly}
                      canChange={canChange}
                      onChange={anomalies.reload}
                    />
                  ))}
                </ul>
              )}
            </div>
          )}
        </Loaded>
        <Panel title="Rules" aside={<span>since the start</span>}>
          <Loaded resource={rules}>
            {({ items }) => (
              <RuleList rules={items} canChange={canChange} onChange={rules.reload} />
            )}
          </Loaded>
        </Panel>
      </div>
    </>
  )
}

function AnomalyCard({
  anomaly,
  canChange,
  onChange,
}: {
  readonly anomaly: Anomaly
  readonly canChange: boolean
  readonly onChange: () => void
}) {
  const [isOpen, setOpen] = useState(false)
  const { id, time, rule, label, severity, mode, subject, route, verdict, incidentId } = anomaly
  const who = subject['address'] ?? subject['principalId'] ?? 'the service'
  const judge = (verdict: string) =>
    send('PUT', `/security/anomalies/${encodeURIComponent(id)}/verdict`, { verdict }).then(onChange)
  return (
    <li class={`card card-${severity} ${verdict === 'false-positive' ? 'card-settled' : ''}`}>
      <div class="card-head">
        <SeverityMark severity={severity} label />
        <span class="card-age">
          <Ago time={time} />
        </span>
      </div>
      <h2 class="card-title">{capital(formatWords(label))}</h2>
      <p class="card-text">
        <code>{who}</code>
        {route !== undefined && (
          <>
            {' on '}
            <code>{route}</code>
          </>
        )}{' '}
        · rule {rule}, {mode}
        {incidentId !== null && (
          <>
            {' · '}
            <a href={linkTo('incidents', incidentId)}>part of an incident</a>
          </>
        )}
      </p>
      <Measures anomaly={anomaly} />
      {isOpen && (
        <ul class="sentences">
          {anomaly.sentences.map((sentence) => (
            <li key={sentence}>{sentence}</li>
          ))}
        </ul>
      )}
      <div class="card-foot">
        <button
          type="button"
          class="button button-quiet"
          aria-expanded={isOpen}
          aria-label={`Explain ${formatWords(label)} of ${who}`}
          onClick={() => setOpen(!isOpen)}
        >
          {isOpen ? 'Less' : 'Explain'}
        </button>
        {verdict !== undefined && <span class="verdict">{formatWords(verdict)}</span>}
        {canChange && verdict === undefined && (
          <ActionButton
            label={`False alarm: ${formatWords(label)} of ${who}`}
            done="Noted; what it caused is lifted"
            run={() => judge('false-positive')}
          >
            False alarm
          </ActionButton>
        )}
      </div>
    </li>
  )
}

/** The measures: readings against what is usual, or counts against their limit. */
function Measures({ anomaly: { evidence, reasons = [] } }: { readonly anomaly: Anomaly }) {
  const readings = reasons.map(readReason).filter((reading) => reading !== undefined)
  const { count, limit, withinMs } = evidence
  if (readings.length > 0) {
    return (
      <ul class="measures">
        {readings.slice(0, 3).map((reading) => (
          <RangeBar key={reading.name} reading={reading} />
        ))}
      </ul>
    )
  }
  if (count === undefined || limit === undefined) {
    return <>{reasons.length > 0 && <p class="card-text">{reasons[0]}</p>}</>
  }
  const name = withinMs === undefined ? 'count' : `count in ${formatDuration(withinMs)}`
  return (
    <ul class="measures">
      <RangeBar reading={{ name, value: count, low: 0, high: limit }} isLimit />
    </ul>
  )
}

function RuleList({
  rules,
  canChange,
  onChange,
}: {
  readonly rules: readonly Rule[]
  readonly canChange: boolean
  readonly onChange: () => void
}) {
  return (
    <ul class="rules">
      {rules.map(({ name, mode, anomalies, clients }) => (
        <li key={name} class="rule">
          <div class="line-main">
            <span>{formatWords(name)}</span>
            <span class="line-sub">
              {anomalies === 0
                ? 'never exceeded'
                : `${formatCount(anomalies)} found, ${formatCount(clients)} clients`}
            </span>
          </div>
          <select
            class="input input-small"
            aria-label={`Mode of ${name}`}
            value={mode}
            disabled={!canChange}
            onChange={({ currentTarget }) => {
              const path = `/security/rules/${encodeURIComponent(name)}/mode`
              const chosen = currentTarget.value
              send('PUT', path, { mode: chosen })
                .then(() => notify(`${formatWords(name)} is in mode ${chosen}`))
                .catch((reason: unknown) => {
                  // The server keeps the old mode, so the field must show it.
                  currentTarget.value = mode
                  notify(toProblem(reason).message, true)
                })
                .finally(onChange)
            }}
          >
            {MODES.map((each) => (
              <option key={each}>{each}</option>
            ))}
          </select>
        </li>
      ))}
    </ul>
  )
}

function capital(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1)
}
