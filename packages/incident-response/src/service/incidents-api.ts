/** `app.incidents`: the operations, put together. */
import { exportCacao, type CacaoExportOptions } from '../cacao/export-cacao.ts'
import type { CacaoPlaybook } from '../cacao/cacao.ts'
import {
  PARAPET_INCIDENT_RESPONSE_INVALID_ARGUMENT,
  PARAPET_INCIDENT_RESPONSE_NOT_FOUND,
} from '../errors.ts'
import { compileFindings, type ObservedEvent } from '../findings/event-findings.ts'
import type { Finding } from '../incidents/finding.ts'
import type { Entry, Incident } from '../incidents/incident.ts'
import type { Playbook } from '../playbooks/playbook.ts'
import { writeYaml } from '../playbooks/write-yaml.ts'
import { metricsOf, type IncidentMetrics } from '../report/metrics.ts'
import { createPostMortem, type PostMortem } from '../report/post-mortem.ts'
import { renderHtml, renderMarkdown } from '../report/render.ts'
import type { Run } from '../runs/run.ts'
import type { IncidentFilter } from '../store/incident-store.ts'
import { type Task, textIn } from '../tasks/task.ts'
import { requireIncident } from './commit.ts'
import type { Service } from './context.ts'
import { dispatch } from './dispatch.ts'
import { drill, type Drill } from './drill.ts'
import type { Intake } from './intake.ts'
import { createPersonOperations, type By, type PersonOperations } from './person.ts'
import { simulate, type Simulation } from './simulate.ts'
import { startAction, startPlaybook } from './start-run.ts'
import { personOf } from './texts.ts'

/** A message that could not be delivered. */
export interface DeadLetter {
  readonly id: string
  readonly incidentId: string
  readonly notifier: string
  readonly reason: string
  readonly error: string | null
}

/** The format of a report. */
export type ReportFormat = 'markdown' | 'html' | 'json'

/** The operations on incidents. */
export interface Incidents extends PersonOperations {
  /** Adds a finding to its open incident, or opens one. @returns when it is stored. */
  report(finding: Finding): Promise<Incident>
  /** @returns `null`: there is none. */
  find(id: string): Promise<Incident | null>
  /** The latest first. @param filter `limit`: 1 to 200. @default the latest 50 */
  list(filter?: Partial<IncidentFilter>): Promise<readonly Incident[]>
  /** The oldest first. @param after the number of the last entry that is known */
  timeline(id: string, after?: number, limit?: number): Promise<readonly Entry[]>
  runs(id: string): Promise<readonly Run[]>
  /** Starts a playbook for a person. */
  run(id: string, playbook: string, by: By): Promise<Run>
  /** Starts one action for a person. */
  act(
    id: string,
    action: string,
    parameters: Readonly<Record<string, unknown>>,
    by: By,
  ): Promise<Run>
  /** The post-mortem report. */
  postMortem(id: string): Promise<PostMortem>
  /** The post-mortem report as a text. */
  render(id: string, format: ReportFormat): Promise<string>
  /** Times over the incidents that were opened in a time; the latest 10 000. @default all */
  metrics(since?: number, until?: number): Promise<IncidentMetrics>
  /** Tries a playbook without changing anything, and says what would fail. */
  drill(playbook: string): Promise<Drill>
  /** Says what a finding, or a security event, would cause. @returns `null`: the event is no finding. */
  simulate(finding: Finding | ObservedEvent): Promise<Simulation | null>
  readonly playbooks: ReadonlyMap<string, Playbook>
  /** Names that built-in playbooks use and this service does not have: a person does the work. */
  readonly missing: { readonly actions: readonly string[]; readonly notifiers: readonly string[] }
  /** A playbook as YAML. */
  yamlOf(playbook: string): Promise<string>
  /** A playbook as CACAO 2.0. */
  cacaoOf(playbook: string, options?: CacaoExportOptions): CacaoPlaybook
  /** Messages that could not be delivered, at most 200, the latest first. */
  deadLetters(): Promise<readonly DeadLetter[]>
  /** Sends one of them again. */
  retryDeadLetter(id: string): Promise<void>
  /** Resolves when findings are stored and nothing runs on this instance; for tests and shutdown. */
  settle(): Promise<void>
}

const MAX_LIST = 200
const MAX_METRICS = 10_000
const MAX_ENTRIES = 10_000
const MAX_DEAD = 200

/** Makes the operations. */
export function createIncidents(
  service: Service,
  intake: Intake,
  idle: () => Promise<void>,
): Incidents {
  const { store, clock, library, settings } = service
  const readEvent = compileFindings(settings.findings)
  const postMortem = async (id: string): Promise<PostMortem> => {
    const incident = await requireIncident(service, id)
    const [timeline, runs] = [await store.timeline(id, 0, MAX_ENTRIES), await store.runsOf(id)]
    return createPostMortem(incident, timeline, runs, clock.now())
  }
  const requirePlaybook = (name: string): Playbook => {
    const playbook = library.playbooks.get(name)
    if (playbook === undefined) throw new PARAPET_INCIDENT_RESPONSE_NOT_FOUND('playbook')
    return playbook
  }
  return {
    ...createPersonOperations(service),
    report: (finding) => intake.report(finding),
    find: (id) => store.find(id),
    list: ({ limit = 50, ...filter } = {}) =>
      store.list({ ...filter, limit: Math.min(Math.max(1, limit), MAX_LIST) }),
    async timeline(id, after = 0, limit = MAX_ENTRIES) {
      await requireIncident(service, id)
      return store.timeline(id, after, Math.min(limit, MAX_ENTRIES))
    },
    async runs(id) {
      await requireIncident(service, id)
      return store.runsOf(id)
    },
    run: async (id, playbook, { by }) => startPlaybook(service, id, playbook, personOf(by)),
    act: async (id, action, parameters, { by }) =>
      startAction(service, id, action, parameters, personOf(by)),
    postMortem,
    render: async (id, format) => render(await postMortem(id), format),
    metrics: async (since = 0, until = Number.MAX_SAFE_INTEGER) =>
      metricsOf(await store.between(since, until, MAX_METRICS)),
    drill: (name) => drill(service, name),
    async simulate(given) {
      const finding = 'details' in given ? readEvent(given) : given
      return finding === undefined ? null : simulate(service, finding)
    },
    playbooks: library.playbooks,
    missing: library.missing,
    yamlOf: async (name) => writeYaml(requirePlaybook(name)),
    cacaoOf: (name, options) =>
      exportCacao(requirePlaybook(name), { created: clock.now(), ...options }),
    deadLetters: async () => (await store.deadTasks(MAX_DEAD)).map(letterOf),
    async retryDeadLetter(id) {
      const task = await store.reviveTask(id, clock.now())
      if (task === null) throw new PARAPET_INCIDENT_RESPONSE_NOT_FOUND('dead letter')
      await dispatch(service, task)
    },
    async settle() {
      await intake.settle()
      await idle()
    },
  }
}

function letterOf({ id, incidentId, data, error }: Task): DeadLetter {
  return {
    id,
    incidentId,
    notifier: textIn(data, 'notifier'),
    reason: textIn(data, 'reason'),
    error,
  }
}

function render(report: PostMortem, format: ReportFormat): string {
  if (format === 'markdown') return renderMarkdown(report)
  if (format === 'html') return renderHtml(report)
  if (format === 'json') return JSON.stringify(report, null, 2)
  throw new PARAPET_INCIDENT_RESPONSE_INVALID_ARGUMENT(
    '"format"',
    'must be one of markdown, html, json',
  )
}
