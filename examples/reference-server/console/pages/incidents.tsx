/** The incident queue, and one incident with its evidence and playbooks. */
import { useState } from 'preact/hooks'
import { acknowledge, listIncidents, type Incident } from '../api/incidents.ts'
import { may } from '../api/rights.ts'
import { ActionButton } from '../ui/action-button.tsx'
import { Deadline } from '../ui/deadline.tsx'
import { formatWords } from '../ui/format.ts'
import { useOnEvent } from '../ui/live.tsx'
import { Ago } from '../ui/moment.tsx'
import { PageHead } from '../ui/panel.tsx'
import { PhaseTrack } from '../ui/phase-track.tsx'
import { linkTo } from '../ui/routes.ts'
import { Segments } from '../ui/segments.tsx'
import { SeverityMark } from '../ui/severity.tsx'
import { Empty, Loaded } from '../ui/states.tsx'
import { useResource } from '../ui/use-resource.ts'
import { IncidentDetails } from './incident-details.tsx'

/** The page. */
export function Incidents({ id }: { readonly id: string }) {
  return id === '' ? <Queue /> : <IncidentDetails id={id} />
}

function Queue() {
  const [state, setState] = useState<'open' | 'closed'>('open')
  const incidents = useResource(() => listIncidents(state), state)
  useOnEvent('incident_response.', incidents.reload)
  return (
    <>
      <PageHead
        title="Incidents"
        text="What belongs together, what was done about it, and what waits for you."
      >
        <Segments label="Which incidents" value={state} onValue={setState} />
      </PageHead>
      <Loaded resource={incidents} absent="This server runs without incident response.">
        {(items) =>
          items.length === 0 ? (
            <Empty
              title={state === 'open' ? 'No open incident' : 'No closed incident'}
              text="An incident opens by itself when anomalies show one attack."
            />
          ) : (
            <ul class="cards">
              {items.map((incident) => (
                <IncidentCard key={incident.id} incident={incident} onChange={incidents.reload} />
              ))}
            </ul>
          )
        }
      </Loaded>
    </>
  )
}

function IncidentCard({
  incident,
  onChange,
}: {
  readonly incident: Incident
  readonly onChange: () => void
}) {
  const { id, title, severity, type, openedAt, findings, addresses, principals } = incident
  return (
    <li class={`card card-${severity}`}>
      <div class="card-head">
        <SeverityMark severity={severity} label />
        <span class="card-age">
          opened <Ago time={openedAt} />
        </span>
      </div>
      <h2 class="card-title">
        <a href={linkTo('incidents', id)}>{title}</a>
      </h2>
      <p class="card-text">
        {formatWords(type)} · {findings} {findings === 1 ? 'finding' : 'findings'} ·{' '}
        {addresses.length} {addresses.length === 1 ? 'address' : 'addresses'}, {principals.length}{' '}
        {principals.length === 1 ? 'account' : 'accounts'}
      </p>
      <PhaseTrack phase={incident.phase} />
      <div class="card-foot">
        <Deadline incident={incident} />
        {may('incidents:write') &&
          incident.acknowledgedAt === null &&
          incident.phase !== 'closed' && (
            <ActionButton
              kind="primary"
              label={`Acknowledge ${title}`}
              done="Acknowledged"
              run={() => acknowledge(id).then(onChange)}
            >
              Acknowledge
            </ActionButton>
          )}
      </div>
    </li>
  )
}
