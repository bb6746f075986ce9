/** Changes what is stored: read, decide, write; again if another instance was faster. Then tells the jobs and the events. */
import { PARAPET_INCIDENT_RESPONSE_BUSY, PARAPET_INCIDENT_RESPONSE_NOT_FOUND } from '../errors.ts'
import type { Entry, Incident } from '../incidents/incident.ts'
import type { Write } from '../store/incident-store.ts'
import type { NewTask } from '../tasks/task.ts'
import type { Service } from './context.ts'
import { dispatch } from './dispatch.ts'

/** What a decision wants to write, and what the caller gets. */
export interface Decision<T> {
  readonly write: Write
  readonly result: T
  /** Gets the entries as they were stored. */
  readonly stored?: (entries: readonly Entry[]) => void
}

const MAX_ATTEMPTS = 50

/**
 * Decides and writes until nobody was faster.
 *
 * @param decide reads what it needs and decides; `null`: nothing is to be written.
 * @throws PARAPET_INCIDENT_RESPONSE_BUSY
 */
export async function change<T>(
  service: Service,
  decide: () => Promise<Decision<T> | null>,
): Promise<T | null> {
  for (let attempt = 0; attempt < MAX_ATTEMPTS; attempt++) {
    const decision = await decide()
    if (decision === null) return null
    const entries = await service.store.commit(decision.write)
    if (entries === null) continue
    decision.stored?.(entries)
    announce(service, decision.write, entries)
    await dispatchAll(service, decision.write.tasks ?? [])
    return decision.result
  }
  throw new PARAPET_INCIDENT_RESPONSE_BUSY()
}

function announce({ report }: Service, { incidents = [] }: Write, entries: readonly Entry[]): void {
  const byId = new Map(incidents.map(({ next }) => [next.id, next]))
  for (const entry of entries) {
    const incident = byId.get(entry.incidentId)
    if (incident !== undefined) report.entry(entry, incident)
  }
}

/** A task that the jobs do not learn of now is found by the sweep. */
async function dispatchAll(service: Service, tasks: readonly NewTask[]): Promise<void> {
  for (const task of tasks) {
    await dispatch(service, { ...task, attempts: 0, dispatches: 0 }).catch(service.report.error)
  }
}

/** @throws PARAPET_INCIDENT_RESPONSE_NOT_FOUND */
export async function requireIncident({ store }: Service, id: string): Promise<Incident> {
  const incident = await store.find(id)
  if (incident === null) throw new PARAPET_INCIDENT_RESPONSE_NOT_FOUND('incident')
  return incident
}

/** The next version of an incident, as a part of a write. */
export function nextVersion(
  before: Incident,
  after: Incident,
): NonNullable<Write['incidents']>[number] {
  return { next: { ...after, version: before.version + 1 }, expected: before.version }
}
