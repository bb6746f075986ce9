/** Writes messages. Pure. */
import type { Incident } from '../incidents/incident.ts'
import type { Message, MessageReason } from './notifier.ts'

const MARKS: Readonly<Record<MessageReason, string>> = {
  opened: 'New incident',
  severity: 'Severity changed',
  escalated: 'Not acknowledged in time',
  overdue: 'Overdue',
  needs_person: 'A person is needed',
  playbook: 'For your information',
  reopened: 'Reopened',
  closed: 'Closed',
}

/** Makes a message about an incident. @param note a sentence about the reason. @param more a line that follows it. */
export function createMessage(
  incident: Incident,
  given: Pick<Message, 'key' | 'reason' | 'url' | 'sentAt'> & {
    readonly note: string
    readonly more?: string
  },
): Message {
  const { key, reason, url, sentAt, note, more = '' } = given
  const { severity, title, type, phase, findings, respondBy, acknowledgedBy } = incident
  const lines = [
    oneLine(note, MAX_NOTE),
    more,
    `Type: ${type}. Severity: ${severity}. Phase: ${phase}. Findings: ${findings}.`,
    listOf('Principals', incident.principals),
    listOf('Addresses', incident.addresses),
    acknowledgedBy === null
      ? `To be acknowledged by ${new Date(respondBy).toISOString()}.`
      : `Acknowledged by ${oneLine(acknowledgedBy)}.`,
    url ?? '',
  ]
  const text = lines.filter((line) => line !== '').join('\n')
  const subject = `[${severity.toUpperCase()}] ${MARKS[reason]}: ${title}`
  return { key, reason, severity, title: oneLine(subject), text, url, incident, sentAt }
}

const MAX_LISTED = 5
const MAX_NOTE = 2000

function listOf(name: string, sightings: Incident['principals']): string {
  if (sightings.length === 0) return ''
  const shown = sightings.slice(0, MAX_LISTED).map(({ id }) => id)
  const more = sightings.length - shown.length
  return `${name}: ${oneLine(shown.join(', '))}${more > 0 ? ` and ${more} more` : ''}.`
}

/** A title is a subject of a mail, too; and a name must not look like a line of the message. */
function oneLine(text: string, max = 300): string {
  return text
    .replaceAll(/[\p{Cc}\u2028\u2029]+/gu, ' ')
    .slice(0, max)
    .toWellFormed()
}
