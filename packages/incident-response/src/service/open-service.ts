/** Puts the parts of the service together. */
import { withDeadline, type Jobs } from '@parapet/kit'
import { knownAction, type KnownAction } from '../actions/action.ts'
import {
  PARAPET_INCIDENT_RESPONSE_CLOSED,
  PARAPET_INCIDENT_RESPONSE_INVALID_OPTION,
} from '../errors.ts'
import type { IncidentResponseSettings } from '../options.ts'
import { HTTP_ACTION } from '../playbooks/compile-program.ts'
import { loadPlaybooks } from '../playbooks/library.ts'
import type { IncidentStore } from '../store/incident-store.ts'
import { createPostgresIncidents } from '../store/incidents-postgres.ts'
import { createMemoryIncidents } from '../store/memory-incidents.ts'
import type { Service, ServiceReport } from './context.ts'
import { createIncidents, type Incidents } from './incidents-api.ts'
import { createIntake } from './intake.ts'
import { createHttpAction, logOnly, postMortem, refuseHttpStep } from './own-actions.ts'
import { createTaskRunner } from './task-runner.ts'

/** A service that was opened. */
export interface OpenService {
  readonly incidents: Incidents
  readonly service: Service
  /** Starts the jobs. */
  readonly start: () => Promise<void>
  readonly close: () => Promise<void>
}

/** Opens the service. @throws PARAPET_INCIDENT_RESPONSE_INVALID_PLAYBOOK */
export async function openService(
  settings: IncidentResponseSettings,
  jobs: Jobs,
  report: ServiceReport,
): Promise<OpenService> {
  const { clock, drainMs, httpHosts } = settings
  const actions = actionsOf(settings)
  const notifiers = new Map(Object.entries(settings.notifiers))
  const library = await loadPlaybooks(settings.playbooks, settings.builtIn, {
    actions: new Set(actions.keys()),
    notifiers: new Set(notifiers.keys()),
    refuseUrl: (url) => refuseHttpStep(url, httpHosts),
  })
  const store = await openStore(settings)
  const closing = new AbortController()
  const service: Service = {
    store,
    jobs,
    clock,
    settings,
    library,
    actions,
    notifiers,
    report,
    closing: closing.signal,
  }
  const intake = createIntake(service)
  const runner = createTaskRunner(service, (reason) => closing.abort(reason))
  const incidents = createIncidents(service, intake, () => runner.idle())
  const close = async (): Promise<void> => {
    await withDeadline(intake.settle(), drainMs, createClosed, clock).catch(report.error)
    await runner.close(drainMs)
  }
  return { incidents, service, close, start: () => runner.start() }
}

function openStore({
  sql,
  migrate,
  maxIncidents,
}: IncidentResponseSettings): Promise<IncidentStore> {
  return sql === undefined
    ? Promise.resolve(createMemoryIncidents(maxIncidents))
    : createPostgresIncidents(sql, migrate)
}

function actionsOf({ actions, httpHosts }: IncidentResponseSettings): Map<string, KnownAction> {
  const known = new Map<string, KnownAction>([
    ['LOG_ONLY', knownAction(logOnly)],
    ['post_mortem', knownAction(postMortem)],
  ])
  for (const [name, action] of Object.entries(actions)) {
    if (name === HTTP_ACTION) {
      const fault = `  "actions.${HTTP_ACTION}" is the name of steps that call other services; choose another`
      throw new PARAPET_INCIDENT_RESPONSE_INVALID_OPTION('@parapet/incident-response', fault)
    }
    known.set(name, knownAction(action))
  }
  if (httpHosts.length > 0) known.set(HTTP_ACTION, knownAction(createHttpAction(httpHosts)))
  return known
}

function createClosed(): Error {
  return new PARAPET_INCIDENT_RESPONSE_CLOSED()
}
