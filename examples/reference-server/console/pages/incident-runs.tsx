/** The runs of playbooks, step by step, with what a person has to decide. */
import { endStep, undoRun, type Run, type Step } from '../api/incidents.ts'
import { may } from '../api/rights.ts'
import { ActionButton } from '../ui/action-button.tsx'
import { formatTitle, formatWords } from '../ui/format.ts'
import { Icon, type IconName } from '../ui/icons.tsx'
import { Clock } from '../ui/moment.tsx'
import { Empty } from '../ui/states.tsx'

const ICONS: Readonly<Record<string, IconName>> = {
  done: 'check',
  failed: 'cross',
  undone: 'refresh',
  skipped: 'chevron',
}
const NEEDS_PERSON = new Set(['waiting', 'needs_person'])
const ENDED = new Set(['done', 'failed', 'skipped', 'undone'])

const canBeUndone = ({ state, kind }: Step): boolean => state === 'done' && kind === 'action'
const waits = ({ steps }: Run): boolean => steps.some(({ state }) => NEEDS_PERSON.has(state))
const rankOf = (run: Run): number => (waits(run) ? 0 : run.kind === 'response' ? 2 : 1)

/** The runs. */
export function IncidentRuns({
  incidentId,
  runs,
  onChange,
}: {
  readonly incidentId: string
  readonly runs: readonly Run[]
  readonly onChange: () => void
}) {
  if (runs.length === 0) {
    return (
      <Empty
        icon="play"
        title="Nothing has run"
        text="A playbook runs by itself, or by the button above."
      />
    )
  }
  return (
    <>
      {/* What waits for a person comes first, what the server did by itself last. */}
      {runs
        .toSorted((one, other) => rankOf(one) - rankOf(other))
        .map((run, index) => (
          <section key={run.id} class="run" aria-label={`Run ${index + 1}: ${run.playbook}`}>
            <header class="run-head">
              <h3>{formatWords(run.playbook)}</h3>
              <span class="run-state">
                {run.state}, {run.steps.filter(({ state }) => ENDED.has(state)).length} of{' '}
                {run.steps.length}, since <Clock time={run.startedAt} />
              </span>
              {may('incidents:write') && run.steps.some(canBeUndone) && (
                <ActionButton
                  kind="quiet"
                  label={`Undo run ${index + 1}: ${run.playbook}`}
                  confirm="Its actions are undone, the last one first: what it blocked is free again."
                  done="The actions are undone"
                  run={() => undoRun(incidentId, run.id).then(onChange)}
                >
                  Undo
                </ActionButton>
              )}
            </header>
            <ol class="steps">
              {run.steps.map((step) => (
                <StepLine
                  key={step.id}
                  step={step}
                  run={run}
                  incidentId={incidentId}
                  onChange={onChange}
                />
              ))}
            </ol>
          </section>
        ))}
    </>
  )
}

function StepLine({
  step,
  run,
  incidentId,
  onChange,
}: {
  readonly step: Step
  readonly run: Run
  readonly incidentId: string
  readonly onChange: () => void
}) {
  const { id, title, action, state, summary, error } = step
  const name = formatTitle(title ?? action ?? id)
  const end = (result: 'done' | 'skipped') => endStep(incidentId, run.id, id, result).then(onChange)
  return (
    <li class={`step step-${state}`}>
      <span class="step-dot" aria-hidden="true">
        {ICONS[state] !== undefined && <Icon name={ICONS[state]} size={12} />}
      </span>
      <div class="step-text">
        <p>
          {name} <span class="step-state">{formatWords(state)}</span>
        </p>
        {(error ?? summary) !== null && <p class="line-sub">{error ?? summary}</p>}
      </div>
      {NEEDS_PERSON.has(state) && may('incidents:write') && (
        <div class="button-row">
          <ActionButton
            kind="primary"
            label={`Approve: ${name}`}
            done="Approved"
            run={() => end('done')}
          >
            Approve
          </ActionButton>
          <ActionButton
            kind="quiet"
            label={`Skip: ${name}`}
            done="Skipped"
            run={() => end('skipped')}
          >
            Skip
          </ActionButton>
        </div>
      )}
    </li>
  )
}
