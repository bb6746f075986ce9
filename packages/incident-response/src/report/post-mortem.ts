/** The facts of a post-mortem report. Pure. */
import type { Entry, Incident } from '../incidents/incident.ts'
import type { Run } from '../runs/run.ts'

/** One line of a report about an action. */
export interface ReportedAction {
  readonly at: number | null
  readonly title: string
  readonly phase: string
  readonly run: string
  readonly state: string
  readonly by: string | null
  readonly attempts: number
  /** What it says, or why it failed. */
  readonly result: string | null
}

/** A post-mortem report. Durations are milliseconds; `null`: it has not come to that. */
export interface PostMortem {
  readonly incident: Incident
  readonly generatedAt: number
  readonly durations: {
    /** From the first sign to the incident. */
    readonly detectMs: number
    /** From the incident on. */
    readonly acknowledgeMs: number | null
    readonly containMs: number | null
    readonly recoverMs: number | null
    readonly closeMs: number | null
  }
  /** Whether a person has acknowledged it in time. */
  readonly isInTime: boolean
  readonly timeline: readonly Entry[]
  readonly actions: readonly ReportedAction[]
  /** What was undone. */
  readonly undone: readonly ReportedAction[]
  /** What needed a person, or still does. */
  readonly open: readonly ReportedAction[]
  /** People and rules, and what each has done, counted by the kind of entry. */
  readonly actors: readonly { readonly by: string; readonly entries: number }[]
}

/** Collects the facts. */
export function createPostMortem(
  incident: Incident,
  timeline: readonly Entry[],
  runs: readonly Run[],
  generatedAt: number,
): PostMortem {
  const { openedAt, firstSeenAt, acknowledgedAt, containedAt, recoveredAt, closedAt } = incident
  const since = (at: number | null) => (at === null ? null : Math.max(0, at - openedAt))
  const actions = runs.flatMap(actionsOf).toSorted((a, b) => (a.at ?? 0) - (b.at ?? 0))
  return {
    incident,
    generatedAt,
    timeline,
    actions,
    durations: {
      detectMs: Math.max(0, openedAt - firstSeenAt),
      acknowledgeMs: since(acknowledgedAt),
      containMs: since(containedAt),
      recoverMs: since(recoveredAt),
      closeMs: since(closedAt),
    },
    isInTime: acknowledgedAt !== null && incident.escalations === 0,
    undone: actions.filter(({ state }) => state === 'undone'),
    open: actions.filter(({ state }) => ['needs_person', 'waiting', 'failed'].includes(state)),
    actors: actorsOf(timeline),
  }
}

function actionsOf({ playbook, steps }: Run): ReportedAction[] {
  return steps.map(({ startedAt, endedAt, title, phase, state, by, attempts, summary, error }) => ({
    at: startedAt ?? endedAt,
    title,
    phase,
    run: playbook,
    state,
    by,
    attempts,
    result: summary ?? error,
  }))
}

function actorsOf(timeline: readonly Entry[]): PostMortem['actors'] {
  const counts = new Map<string, number>()
  for (const { by } of timeline) if (by !== null) counts.set(by, (counts.get(by) ?? 0) + 1)
  return [...counts]
    .map(([by, entries]) => ({ by, entries }))
    .toSorted((a, b) => b.entries - a.entries)
}

/** A duration in words: `1 h 5 min`. */
export function durationText(ms: number | null): string {
  if (ms === null) return '–'
  const seconds = Math.round(ms / 1000)
  const [days, hours] = [Math.floor(seconds / 86_400), Math.floor(seconds / 3600) % 24]
  const minutes = Math.floor(seconds / 60) % 60
  const parts = [
    [days, 'd'],
    [hours, 'h'],
    [minutes, 'min'],
    [seconds % 60, 's'],
  ] as const
  const shown = parts.filter(([value]) => value > 0).slice(0, 2)
  return shown.length === 0 ? '0 s' : shown.map(([value, unit]) => `${value} ${unit}`).join(' ')
}

/** `2026-01-31 12:00:00Z` */
export function timeText(ms: number | null): string {
  return ms === null
    ? '–'
    : new Date(ms)
        .toISOString()
        .replace('T', ' ')
        .replace(/\.\d+Z$/, 'Z')
}
