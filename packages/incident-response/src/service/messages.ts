/** Plans messages: to whom, when, and under which id, so that each is sent once. */
import type { Incident } from '../incidents/incident.ts'
import type { MessageReason } from '../notify/notifier.ts'
import { afterQuietHours } from '../notify/quiet-hours.ts'
import type { NewTask } from '../tasks/task.ts'
import type { Service } from './context.ts'

/** A message to plan. */
export interface PlannedMessage {
  readonly reason: MessageReason
  /** One sentence. */
  readonly note: string
  /** Names the occasion within the incident. */
  readonly occasion: string
  readonly to: readonly string[]
  readonly at: number
  /** Quiet hours do not delay it beyond this time. */
  readonly latest?: number
}

/** Plans a message to each notifier. */
export function planMessages(
  { settings, notifiers }: Service,
  incident: Incident,
  { reason, note, occasion, to, at, latest = Infinity }: PlannedMessage,
): NewTask[] {
  const { id: incidentId, severity } = incident
  const hours = severity === 'critical' ? undefined : settings.quietHours[severity]
  const awake = Math.round(afterQuietHours(at, hours))
  const dueAt = awake > latest ? at : awake
  return [...new Set(to)]
    .filter((name) => notifiers.has(name))
    .map((notifier) => ({
      id: `notify:${incidentId}:${occasion}:${notifier}`,
      incidentId,
      kind: 'notify',
      dueAt,
      data: { notifier, reason, note },
    }))
}

/** Those who get messages at a level of escalation; beyond the list, its last entry. */
export function escalationOf(
  { settings }: Service,
  incident: Incident,
  level: number,
): readonly string[] {
  const list = settings.escalation[incident.severity]
  return list[Math.min(level, list.length - 1)] ?? []
}

/** Those who get the message of an opened incident; also instead of notifiers that do not exist. */
export function firstOf(service: Service, incident: Incident): readonly string[] {
  return escalationOf(service, incident, 0)
}
