/** Incidents, their timelines and runs. The routes are those of `@parapet/incident-response`. */
import { get, send } from './client.ts'
import { requirePart, requireRight } from './rights.ts'
import type { Severity } from './types.ts'

/** The phases of an incident, in their order. */
export const PHASES = [
  'detection',
  'containment',
  'eradication',
  'recovery',
  'lessons_learned',
  'closed',
] as const

interface Counted {
  readonly id: string
  readonly count: number
}

export interface Incident {
  readonly id: string
  readonly type: string
  readonly title: string
  readonly severity: Severity
  readonly phase: string
  readonly resolution: string | null
  readonly openedAt: number
  readonly acknowledgedAt: number | null
  readonly acknowledgedBy: string | null
  readonly respondBy: number | null
  readonly assignee: string | null
  readonly findings: number
  readonly lastFindingAt: number | null
  readonly principals: readonly Counted[]
  readonly addresses: readonly Counted[]
  readonly links: readonly { readonly kind: string; readonly id: string }[]
  readonly needsPerson: number
  readonly transitions?: readonly string[]
}

export interface Entry {
  readonly seq: number
  readonly at: number
  readonly kind: string
  readonly by: string | null
  readonly text: string
}

export interface Step {
  readonly id: string
  readonly phase: string | null
  readonly kind: string
  readonly title: string | null
  readonly action: string | null
  readonly state: string
  readonly attempts: number
  readonly dueAt: number | null
  readonly by: string | null
  readonly summary: string | null
  readonly error: string | null
}

export interface Run {
  readonly id: string
  readonly playbook: string
  readonly kind: string
  readonly state: string
  readonly startedAt: number
  readonly steps: readonly Step[]
}

export interface Playbook {
  readonly name: string
  readonly title: string
  readonly severity: string
}

/** The queue. */
export async function listIncidents(
  state: 'open' | 'closed',
  limit = 200,
): Promise<readonly Incident[]> {
  requirePart('incidents')
  requireRight('incidents:read')
  return (await get<{ items: Incident[] }>(`/incidents?state=${state}&limit=${limit}`)).items
}

/** One incident with all that happened. */
export async function readIncident(id: string) {
  requirePart('incidents')
  requireRight('incidents:read')
  const path = pathOf(id)
  const [incident, entries, runs, playbooks] = await Promise.all([
    get<Incident>(path),
    readTimeline(path),
    get<{ items: Run[] }>(`${path}/runs`),
    get<{ items: Playbook[] }>('/incidents/playbooks'),
  ])
  return { incident, entries, runs: runs.items, playbooks: playbooks.items }
}

const TIMELINE_LIMIT = 1000
/** A page shows no more; the report of the incident has all. */
const MAX_TIMELINE_PAGES = 10

/** All entries: the route returns the oldest first, and the newest matter most. */
async function readTimeline(path: string): Promise<readonly Entry[]> {
  const entries: Entry[] = []
  for (let page = 0; page < MAX_TIMELINE_PAGES; page++) {
    const after = entries.at(-1)?.seq ?? 0
    const { items } = await get<{ items: Entry[] }>(
      `${path}/timeline?limit=${TIMELINE_LIMIT}&after=${after}`,
    )
    entries.push(...items)
    if (items.length < TIMELINE_LIMIT) break
  }
  return entries
}

function pathOf(id: string): string {
  return `/incidents/${encodeURIComponent(id)}`
}

/** Tells everybody that somebody looks at it. */
export const acknowledge = (id: string) => send('POST', `${pathOf(id)}/acknowledge`)
/** Runs a playbook. */
export const startRun = (id: string, playbook: string) =>
  send('POST', `${pathOf(id)}/runs`, { playbook })
/** Ends a step that waits for a person. */
export const endStep = (
  id: string,
  runId: string,
  stepId: string,
  result: 'done' | 'skipped' | 'retry',
) =>
  send(
    'POST',
    `${pathOf(id)}/runs/${encodeURIComponent(runId)}/steps/${encodeURIComponent(stepId)}`,
    { result },
  )
/** Undoes the actions of a run, the last first. */
export const undoRun = (id: string, runId: string) =>
  send('POST', `${pathOf(id)}/runs/${encodeURIComponent(runId)}/undo`)
/** Moves an incident to another phase. */
export const moveTo = (id: string, to: string) => send('POST', `${pathOf(id)}/transitions`, { to })
/** Closes an incident. */
export const close = (id: string, resolution: 'resolved' | 'false_positive') =>
  send('POST', `${pathOf(id)}/close`, { resolution })
