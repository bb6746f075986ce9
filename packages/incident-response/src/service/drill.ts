/** A game day: tries a playbook without changing anything, and says what would fail. */
import { uuidV7, withDeadline } from '@parapet/kit'
import type { ActionCall } from '../actions/action.ts'
import {
  PARAPET_INCIDENT_RESPONSE_NOT_FOUND,
  PARAPET_INCIDENT_RESPONSE_TIMEOUT,
} from '../errors.ts'
import { readFinding } from '../incidents/finding.ts'
import { openIncident } from '../incidents/fold-finding.ts'
import type { Incident } from '../incidents/incident.ts'
import { withInner } from '../playbooks/check-meaning.ts'
import type { Playbook } from '../playbooks/playbook.ts'
import { leavesOf, type Leaf } from '../playbooks/program.ts'
import type { Service } from './context.ts'
import { describe } from './describe.ts'
import { firstOf } from './messages.ts'

/** What happened with one step. */
interface DrilledStep {
  readonly id: string
  readonly phase: string
  readonly title: string
  /**
   * `ok`: its dry run worked. `untested`: the action has none. `person`: it is the work of a person. `fails`: its dry run
   * has failed.
   */
  readonly outcome: 'ok' | 'untested' | 'person' | 'fails'
  readonly says: string
}

/** What a drill has found. */
export interface Drill {
  readonly playbook: string
  /** Nothing would fail. */
  readonly ok: boolean
  readonly steps: readonly DrilledStep[]
  readonly notifiers: readonly {
    readonly name: string
    readonly ok: boolean
    readonly says: string
  }[]
  /** Sentences. */
  readonly problems: readonly string[]
}

/** Tries every step and every notifier of a playbook. @throws PARAPET_INCIDENT_RESPONSE_NOT_FOUND */
export async function drill(service: Service, name: string): Promise<Drill> {
  const { library } = service
  const [program, playbook] = [library.programs.get(name), library.playbooks.get(name)]
  if (program === undefined || playbook === undefined) {
    throw new PARAPET_INCIDENT_RESPONSE_NOT_FOUND('playbook')
  }
  const incident = exampleOf(service, playbook)
  const steps: DrilledStep[] = []
  for (const leaf of leavesOf(program.root)) steps.push(await drillStep(service, leaf, incident))
  const notifiers = await drillNotifiers(service, playbook, incident)
  const written = JSON.stringify([...withInner(playbook, library.playbooks)])
  const problems = [
    ...library.missing.actions
      .filter((action) => written.includes(`"${action}"`))
      .map((action) => `The action "${action}" is not registered: a person must do it.`),
    ...steps
      .filter(({ outcome }) => outcome === 'fails')
      .map(({ title, says }) => `${title}: ${says}`),
    ...notifiers.filter(({ ok }) => !ok).map((each) => `The notifier "${each.name}" ${each.says}.`),
  ]
  return { playbook: name, ok: problems.length === 0, steps, notifiers, problems }
}

function exampleOf(
  { clock, settings }: Service,
  { name, severity, triggers = [] }: Playbook,
): Incident {
  const now = clock.now()
  const [trigger = name.replaceAll('-', '_')] = triggers
  const type = typeof trigger === 'string' ? trigger : trigger.type
  const subject = { principalId: 'drill', address: '192.0.2.1' }
  const finding = readFinding({ type, severity, title: `Drill of ${name}`, ...subject }, now)
  return openIncident(finding, { id: uuidV7(), now, respondBy: now + settings.respondMs[severity] })
}

async function drillStep(service: Service, leaf: Leaf, incident: Incident): Promise<DrilledStep> {
  const { id, phase, title } = leaf
  const found = (outcome: DrilledStep['outcome'], says: string) => ({
    id,
    phase,
    title,
    outcome,
    says,
  })
  if (leaf.kind === 'manual') return found('person', 'waits for a person')
  if (leaf.kind !== 'action') return found('ok', leaf.title)
  const action = service.actions.get(leaf.action)
  if (action === undefined) return found('fails', `the action "${leaf.action}" is not registered`)
  if (action.dryRun === undefined) return found('untested', 'the action has no dry run')
  const own = new AbortController()
  const call: ActionCall = {
    incident,
    key: `drill:${incident.id}:${id}`,
    with: leaf.with,
    by: 'drill',
    runId: incident.id,
    signal: AbortSignal.any([own.signal, service.closing]),
  }
  try {
    const says = await within(service, `dry run of "${leaf.action}"`, () => action.dryRun!(call))
    return found('ok', says ?? 'would work')
  } catch (error) {
    own.abort(error)
    return found('fails', describe(error))
  }
}

async function drillNotifiers(service: Service, playbook: Playbook, incident: Incident) {
  const { notifications = {} } = playbook
  const named = Object.values(notifications).flat() as readonly string[]
  const names = [...new Set([...named, ...firstOf(service, incident)])]
  const checks = names.map(async (name) => {
    const notifier = service.notifiers.get(name)
    if (notifier === undefined) return { name, ok: false, says: 'is not registered' }
    if (notifier.check === undefined) return { name, ok: true, says: 'has no check' }
    const own = new AbortController()
    try {
      await within(service, `check of "${name}"`, () => notifier.check!(own.signal))
      return { name, ok: true, says: 'can be reached' }
    } catch (error) {
      own.abort(error)
      return { name, ok: false, says: `cannot be reached: ${describe(error)}` }
    }
  })
  return Promise.all(checks)
}

function within<T>({ settings, clock }: Service, what: string, work: () => Promise<T>): Promise<T> {
  const { deadlineMs } = settings
  const late = () => new PARAPET_INCIDENT_RESPONSE_TIMEOUT(what, deadlineMs)
  return withDeadline(Promise.resolve().then(work), deadlineMs, late, clock)
}
