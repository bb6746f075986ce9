/** What a report says, in sections, for every format. */
import { durationText, timeText, type PostMortem, type ReportedAction } from './post-mortem.ts'

/** A table; a section without rows says `none`. */
export interface Section {
  readonly title: string
  readonly head: readonly string[]
  readonly rows: readonly (readonly string[])[]
  /** What an empty table says. */
  readonly none: string
}

/** Makes the sections. */
export function outlineOf(report: PostMortem): readonly Section[] {
  const { incident, durations, timeline, actions, undone, open, actors } = report
  const facts: readonly (readonly [string, string])[] = [
    ['Type', incident.type],
    ['Severity', incident.severity],
    ['Phase', incident.phase],
    ['Resolution', incident.resolution ?? '–'],
    ['First sign', timeText(incident.firstSeenAt)],
    ['Opened', timeText(incident.openedAt)],
    ['Closed', timeText(incident.closedAt)],
    ['Findings', String(incident.findings)],
    ['Affected records', String(incident.records)],
    ['Acknowledged by', incident.acknowledgedBy ?? '–'],
    ['Acknowledged in time', report.isInTime ? 'yes' : 'no'],
    ['Escalations', String(incident.escalations)],
  ]
  const times: readonly (readonly [string, string])[] = [
    ['To detect', durationText(durations.detectMs)],
    ['To acknowledge', durationText(durations.acknowledgeMs)],
    ['To contain', durationText(durations.containMs)],
    ['To recover', durationText(durations.recoverMs)],
    ['To close', durationText(durations.closeMs)],
  ]
  const affected = [
    ...incident.principals.map(({ id, count }) => ['Principal', id, String(count)]),
    ...incident.addresses.map(({ id, count }) => ['Address', id, String(count)]),
  ]
  return [
    { title: 'Summary', head: ['What', 'Value'], rows: facts, none: '' },
    { title: 'Times', head: ['What', 'Time'], rows: times, none: '' },
    {
      title: 'Affected',
      head: ['Kind', 'Id', 'Seen'],
      rows: affected,
      none: 'No principal and no address is known.',
    },
    {
      title: 'Timeline',
      head: ['Time', 'Who', 'What'],
      rows: timeline.map(({ at, by, text }) => [timeText(at), by ?? 'service', text]),
      none: 'There are no entries.',
    },
    actionSection('Actions', actions, 'Nothing was done.'),
    actionSection('Undone', undone, 'Nothing was undone.'),
    actionSection('Not done', open, 'Everything was done.'),
    {
      title: 'Who did what',
      head: ['Who', 'Entries'],
      rows: actors.map(({ by, entries }) => [by, String(entries)]),
      none: 'Nobody.',
    },
    {
      title: 'Links',
      head: ['Kind', 'Id'],
      rows: incident.links.map(({ kind, id }) => [kind, id]),
      none: 'There are none.',
    },
  ]
}

function actionSection(title: string, actions: readonly ReportedAction[], none: string): Section {
  const rows = actions.map(({ at, phase, run, title: what, state, by, result }) => [
    timeText(at),
    phase,
    run,
    what,
    state,
    by ?? 'service',
    result ?? '',
  ])
  return { title, head: ['Time', 'Phase', 'Run', 'Action', 'State', 'By', 'Result'], rows, none }
}
