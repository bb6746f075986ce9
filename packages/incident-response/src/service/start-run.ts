/** Starts runs: playbooks by a trigger or a person, responses, and single actions. */
import { isDeepStrictEqual } from 'node:util'
import { uuidV7 } from '@parapet/kit'
import {
  PARAPET_INCIDENT_RESPONSE_CONFLICT,
  PARAPET_INCIDENT_RESPONSE_NOT_FOUND,
} from '../errors.ts'
import { derivedId } from '../ids.ts'
import { isOpen, type Incident } from '../incidents/incident.ts'
import { entryOf, requireOpen } from '../incidents/transitions.ts'
import type { Notifications } from '../playbooks/playbook.ts'
import type { ActionNode, Program } from '../playbooks/program.ts'
import { newRun, type Run } from '../runs/run.ts'
import { type NewTask, type Task, textIn } from '../tasks/task.ts'
import { change, requireIncident } from './commit.ts'
import type { Service } from './context.ts'
import { firstOf, planMessages } from './messages.ts'
import { progress } from './progress.ts'
import { parametersOf } from './texts.ts'

/** What a run begins with. */
interface Beginning {
  readonly id: string
  readonly program: Program
  readonly kind: Run['kind']
  readonly by: string | null
  readonly text: string
  readonly tasks: (incident: Incident) => readonly NewTask[]
  /** The task that asked for it. */
  readonly task?: Task
}

/** Carries out a task that starts a playbook. */
export async function startTriggered(service: Service, task: Task): Promise<void> {
  const name = textIn(task.data, 'playbook')
  const program = service.library.programs.get(name)
  const by = `trigger:${name}`
  // A playbook that was removed since.
  const beginning = program && playbookRun(service, name, program, by, derivedId(task.id))
  await begin(service, task.incidentId, beginning && { ...beginning, task }, task)
}

/** Starts a playbook for a person. @throws PARAPET_INCIDENT_RESPONSE_NOT_FOUND */
export async function startPlaybook(
  service: Service,
  incidentId: string,
  name: string,
  by: string,
): Promise<Run> {
  const program = service.library.programs.get(name)
  if (program === undefined) throw new PARAPET_INCIDENT_RESPONSE_NOT_FOUND('playbook')
  return beginForPerson(service, incidentId, playbookRun(service, name, program, by, uuidV7()))
}

function playbookRun(
  service: Service,
  name: string,
  program: Program,
  by: string,
  id: string,
): Beginning {
  const notifications = service.library.playbooks.get(name)?.notifications ?? {}
  return {
    id,
    program,
    by,
    kind: 'playbook',
    text: `Playbook ${name} started`,
    tasks: (incident) => planNotifications(service, incident, id, name, notifications),
  }
}

/** Messages with a deadline leave time for attempts that fail, and for a person to find out that it is no incident. */
const LATEST_MS = {
  immediate: 0,
  within_1_hour: 50 * 60_000,
  within_24_hours: 23 * 3_600_000,
} as const satisfies Record<keyof Notifications, number>

const PROMISED_MS = { within_1_hour: 3_600_000, within_24_hours: 86_400_000 } as const

function planNotifications(
  service: Service,
  incident: Incident,
  runId: string,
  name: string,
  notifications: Notifications,
): NewTask[] {
  const now = service.clock.now()
  return Object.entries(LATEST_MS).flatMap(([when, delayMs]) => {
    const names = notifications[when as keyof Notifications] ?? []
    const known = names.filter((each) => service.notifiers.has(each))
    // Nobody is left out because a built-in playbook names a team that the service does not have.
    const to = known.length === names.length ? known : [...known, ...firstOf(service, incident)]
    const isImmediate = delayMs === 0
    const occasion = isImmediate ? 'opened' : `${when}:${runId}`
    const note = isImmediate
      ? incident.title
      : `${incident.title}: to be told ${when.replaceAll('_', ' ')} by the playbook ${name}`
    const reason = isImmediate ? 'opened' : 'playbook'
    const promised = isImmediate
      ? {}
      : { latest: now + PROMISED_MS[when as keyof typeof PROMISED_MS] }
    const at = now + delayMs
    return planMessages(service, incident, { reason, note, occasion, to, at, ...promised })
  })
}

/** Carries out a task that starts a response. */
export async function startResponse(service: Service, task: Task): Promise<void> {
  const { with: parameters } = task.data
  const [rule, action] = [textIn(task.data, 'rule'), textIn(task.data, 'action')]
  const program = actionProgram(rule, action, parameters as Readonly<Record<string, unknown>>)
  const text = `Response ${rule}: ${action}`
  const id = derivedId(task.id)
  const by = `rule:${rule}`
  await begin(
    service,
    task.incidentId,
    {
      id,
      program,
      by,
      text,
      task,
      kind: 'response',
      tasks: () => [],
    },
    task,
  )
}

/** Starts one action for a person. @throws PARAPET_INCIDENT_RESPONSE_NOT_FOUND */
export async function startAction(
  service: Service,
  incidentId: string,
  action: string,
  parameters: Readonly<Record<string, unknown>>,
  by: string,
): Promise<Run> {
  if (!service.actions.has(action)) throw new PARAPET_INCIDENT_RESPONSE_NOT_FOUND('action')
  const program = actionProgram(action, action, parametersOf(parameters))
  const beginning = { id: uuidV7(), program, by, kind: 'manual', text: `Action ${action}` } as const
  return beginForPerson(service, incidentId, { ...beginning, tasks: () => [] })
}

/** @throws PARAPET_INCIDENT_RESPONSE_CONFLICT the incident is closed, or the same runs already: a second click. */
async function beginForPerson(
  service: Service,
  incidentId: string,
  beginning: Beginning,
): Promise<Run> {
  const run = await begin(service, incidentId, beginning)
  if (run !== null) return run
  requireOpen(await requireIncident(service, incidentId))
  throw new PARAPET_INCIDENT_RESPONSE_CONFLICT(`"${beginning.program.playbook}" runs already`)
}

/** Whether what a person wants to start runs already, with the same parameters. */
async function isRunning(
  { store }: Service,
  incidentId: string,
  { kind, program }: Beginning,
): Promise<boolean> {
  const same = (await store.runsOf(incidentId)).filter(
    (run) => run.state === 'running' && run.playbook === program.playbook && run.kind === kind,
  )
  if (kind === 'playbook') return same.length > 0
  const programs = await Promise.all(same.map(async ({ id }) => (await store.findRun(id))?.program))
  return programs.some((each) => isDeepStrictEqual(each?.root, program.root))
}

function actionProgram(
  playbook: string,
  action: string,
  parameters: Readonly<Record<string, unknown>>,
): Program {
  const node: ActionNode = {
    kind: 'action',
    id: 'action',
    phase: 'containment',
    title: action,
    action,
    with: parameters,
    timeoutMs: null,
    retries: null,
    onFailure: 'continue',
  }
  return { playbook, root: { kind: 'sequence', id: 'root', nodes: [node] }, variables: {} }
}

/**
 * Stores the run with its first steps, once for each id.
 *
 * @param beginning `undefined`: there is nothing to begin, only the task ends.
 */
async function begin(
  service: Service,
  incidentId: string,
  beginning: Beginning | undefined,
  task?: Task,
): Promise<Run | null> {
  const ended = task === undefined ? undefined : [{ id: task.id, state: 'done' as const }]
  return change<Run | null>(service, async () => {
    if (task !== undefined && (await service.store.findTask(task.id))?.state !== 'pending')
      return null
    const incident = await requireIncident(service, incidentId)
    const isBegun = beginning !== undefined && (await service.store.findRun(beginning.id)) !== null
    const isRepeated =
      beginning !== undefined &&
      task === undefined &&
      (await isRunning(service, incidentId, beginning))
    if (beginning === undefined || isBegun || isRepeated || !isOpen(incident)) {
      return ended === undefined ? null : { write: { ended }, result: null }
    }
    const { id, program, kind, by, text, tasks } = beginning
    const startedAt = service.clock.now()
    const run = newRun(program, { id, incidentId, kind, by, startedAt })
    const details = { run: id, playbook: program.playbook }
    const entries = [entryOf(incident, 'run_started', { by, now: startedAt }, text, details)]
    const changing = {
      incident,
      stored: { run, program },
      run,
      isNew: true,
      entries,
      tasks: tasks(incident),
    }
    const { write, run: result } = progress(service, { ...changing, ...(ended && { ended }) })
    return { write, result }
  })
}
