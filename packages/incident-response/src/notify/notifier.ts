/** The port of messages to people. */
import type { Incident, IncidentSeverity } from '../incidents/incident.ts'

/** Why a message is sent. */
export type MessageReason =
  | 'opened'
  | 'severity'
  | 'escalated'
  | 'overdue'
  | 'needs_person'
  | 'playbook'
  | 'reopened'
  | 'closed'

/** A message. It names no secret, but principals and addresses. */
export interface Message {
  /** The same in every attempt: receivers recognise a repetition by it. */
  readonly key: string
  readonly reason: MessageReason
  readonly severity: IncidentSeverity
  /** One line. */
  readonly title: string
  /** Some lines. */
  readonly text: string
  /** Where the incident is shown, if the option `incidentUrl` is set. */
  readonly url: string | null
  readonly incident: Incident
  readonly sentAt: number
}

/** Sends messages to one receiver: a team, a channel, an authority. */
export interface Notifier {
  /** @param signal aborted when the time is up. @throws the message is sent again later. */
  send(message: Message, signal: AbortSignal): Promise<void>
  /** Says whether the receiver can be reached, for drills; it rejects if not. @default it is not tried */
  check?(signal: AbortSignal): Promise<void>
}
