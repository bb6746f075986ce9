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
  closed: 'Closed',
}

/** Makes a message about an incident. @param note a sentence about the reason. */
export function createMessage(
  incident: Incident,
  given: Pick<Message, 'key' | 'reason' | 'url' | 'sentAt'> & { readonly note: string },
): Message {
  const { key, reason, url, sentAt, note } = given
  const { severity, title, type, phase, findings, respondBy, acknowledgedBy } = incident
  const lines = [
    note,
    `Type: ${type}. Severity: ${severity}. Phase: ${phase}. Findings: ${findings}.`,
    listOf('Principals', incident.principals),
    listOf('Addresses', incident.addresses),
    acknowledgedBy === null
      ? `To be acknowledged by ${new Date(respondBy).toISOString()}.`
      : `Acknowledged by ${acknowledgedBy}.`,
    url ?? '',
  ]
  const text = lines.filter((line) => line !== '').join('\n')
  const subject = `[${severity.toUpperCase()}] ${MARKS[reason]}: ${title}`
  return { key, reason, severity, title: oneLine(subject), text, url, incident, sentAt }
}

const MAX_LISTED = 5

function listOf(name: string, sightings: Incident['principals']): string {
  if (sightings.length === 0) return ''
  const shown = sightings.slice(0, MAX_LISTED).map(({ id }) => id)
  const more = sightings.length - shown.length
  return `${name}: ${oneLine(shown.join(', '))}${more > 0 ? ` and ${more} more` : ''}.`
}

/** A title is a subject of a mail, too. */
function oneLine(text: string): string {
  return text.replaceAll(/[\p{Cc}\u2028\u2029]+/gu, ' ').slice(0, 300)
}
