/** One incident: whom it concerns, what the playbooks do, and all that happened. */
import {
  acknowledge,
  close,
  moveTo,
  PHASES,
  readIncident,
  startRun,
  type Entry,
  type Incident,
  type Playbook,
} from '../api/incidents.ts'
import { may } from '../api/rights.ts'
import { ActionButton } from '../ui/action-button.tsx'
import { Deadline } from '../ui/deadline.tsx'
import { formatActor, formatDuration, formatExact, formatWords, toIso } from '../ui/format.ts'
import { useOnEvent } from '../ui/live.tsx'
import { Day } from '../ui/moment.tsx'
import { Panel } from '../ui/panel.tsx'
import { PhaseTrack } from '../ui/phase-track.tsx'
import { linkTo } from '../ui/routes.ts'
import { SeverityMark } from '../ui/severity.tsx'
import { Loaded } from '../ui/states.tsx'
import { useResource } from '../ui/use-resource.ts'
import { IncidentRuns } from './incident-runs.tsx'

/** The page. */
export function IncidentDetails({ id }: { readonly id: string }) {
  const resource = useResource(() => readIncident(id), id)
  useOnEvent('incident_response.', resource.reload)
  return (
    <>
      <p class="crumb">
        <a href={linkTo('incidents')}>Incidents</a>
      </p>
      <Loaded resource={resource} absent="There is no such incident.">
        {({ incident, entries, runs, playbooks }) => (
          <>
            <Head incident={incident} onChange={resource.reload} />
            <div class="two-columns">
              <div class="column">
                <Panel
                  title="Playbooks"
                  aside={
                    <RunButton
                      incident={incident}
                      playbooks={playbooks}
                      onChange={resource.reload}
                    />
                  }
                >
                  <IncidentRuns incidentId={id} runs={runs} onChange={resource.reload} />
                </Panel>
                <Panel title="Evidence">
                  <Evidence incident={incident} />
                </Panel>
              </div>
              <Panel title="Timeline">
                <Timeline entries={entries} />
              </Panel>
            </div>
          </>
        )}
      </Loaded>
    </>
  )
}

function Head({
  incident,
  onChange,
}: {
  readonly incident: Incident
  readonly onChange: () => void
}) {
  const { id, title, severity, phase, openedAt, acknowledgedAt } = incident
  const next = PHASES[PHASES.findIndex((each) => each === phase) + 1]
  const canMove = next !== undefined && next !== 'closed' && incident.transitions?.includes(next)
  return (
    <div class="incident-head">
      <p class="incident-meta">
        <SeverityMark severity={severity} label />{' '}
        <span>
          opened <Day time={openedAt} />
        </span>{' '}
        <Deadline incident={incident} />
      </p>
      <h1 tabIndex={-1}>{title}</h1>
      <PhaseTrack phase={phase} />
      {phase !== 'closed' && may('incidents:write') && (
        <div class="button-row">
          {acknowledgedAt === null && (
            <ActionButton
              kind="primary"
              done="Acknowledged"
              run={() => acknowledge(id).then(onChange)}
            >
              Acknowledge
            </ActionButton>
          )}
          {canMove && (
            <ActionButton
              done={`Moved to ${formatWords(next)}`}
              run={() => moveTo(id, next).then(onChange)}
            >
              Move to {formatWords(next)}
            </ActionButton>
          )}
          {phase === BEFORE_CLOSED && (
            <ActionButton
              done="Closed"
              confirm="The incident is closed. Playbooks that still run are not waited for."
              run={() => close(id, 'resolved').then(onChange)}
            >
              Close as resolved
            </ActionButton>
          )}
          <ActionButton
            kind="quiet"
            done="Closed"
            confirm="The incident is closed as a false alarm. What was blocked because of it stays until it ends or is undone."
            run={() => close(id, 'false_positive').then(onChange)}
          >
            False alarm
          </ActionButton>
        </div>
      )}
    </div>
  )
}

/** Only an incident that went through every phase is resolved; the server refuses any other. */
const BEFORE_CLOSED = PHASES.at(-2)

function RunButton({
  incident,
  playbooks,
  onChange,
}: {
  readonly incident: Incident
  readonly playbooks: readonly Playbook[]
  readonly onChange: () => void
}) {
  const fitting = playbooks.find(({ name }) => name === incident.type) ?? playbooks[0]
  if (fitting === undefined || incident.phase === 'closed' || !may('incidents:write')) return null
  return (
    <ActionButton
      done={`${fitting.title} runs`}
      run={() => startRun(incident.id, fitting.name).then(onChange)}
    >
      Run “{fitting.title}”
    </ActionButton>
  )
}

function Evidence({ incident }: { readonly incident: Incident }) {
  const { addresses, principals, links } = incident
  return (
    <dl class="facts">
      <Counted name="Addresses" items={addresses} />
      <Counted name="Accounts" items={principals} />
      {links.length > 0 && (
        <div class="fact">
          <dt>Linked</dt>
          <dd>
            {links.map(({ kind, id }) => (
              <span key={id} class="chip">
                {kind} <code>{id.slice(-12)}</code>
              </span>
            ))}
          </dd>
        </div>
      )}
    </dl>
  )
}

function Counted({
  name,
  items,
}: {
  readonly name: string
  readonly items: readonly { readonly id: string; readonly count: number }[]
}) {
  return (
    <div class="fact">
      <dt>{name}</dt>
      <dd>
        {items.length === 0 && 'none'}
        {items.slice(0, 12).map(({ id, count }) => (
          <span key={id} class="chip">
            <code>{id}</code> ×{count}
          </span>
        ))}
        {items.length > 12 && ` and ${items.length - 12} more`}
      </dd>
    </div>
  )
}

function Timeline({ entries }: { readonly entries: readonly Entry[] }) {
  const start = entries[0]?.at ?? 0
  return (
    <div class="timeline-frame" tabIndex={0} role="region" aria-label="What happened">
      <ol class="timeline">
        {entries.toReversed().map(({ seq, at, kind, by, text }) => (
          <li key={seq} class={`moment moment-${kind}`}>
            <time dateTime={toIso(at)} title={formatExact(at)}>
              +{formatDuration(at - start)}
            </time>
            <p>
              <b>{formatWords(kind)}</b> {text}
              {by !== null && <span class="line-sub">by {formatActor(by)}</span>}
            </p>
          </li>
        ))}
      </ol>
    </div>
  )
}
