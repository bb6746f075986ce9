/** Erasure of a subject: destroys the keys and values of its personal data. */
import type { SecurityEvents } from '@parapet/kit'
import type { LogStore } from '../log/log-store.ts'
import type { AuditFields } from '../record/fields.ts'
import type { SubjectKeys } from '../record/personal-data.ts'

/** What an erasure and a pruning need. */
export interface RemovalSettings {
  readonly store: LogStore
  readonly events: SecurityEvents
  /** Milliseconds since the Unix epoch. */
  readonly now: () => number
  /** Records an action of the log itself. */
  readonly record: (
    action: string,
    fields: AuditFields,
    isStatement?: boolean,
  ) => Promise<{ readonly id: string }>
  /** Moves all records into the log. */
  readonly flush: () => Promise<void>
}

/** Erases one subject. @returns the id of the record, and the number of deleted keys and values */
export async function eraseSubject(
  { store, events, now, record, flush }: RemovalSettings,
  subjects: SubjectKeys,
  subject: string,
  fields: AuditFields,
): Promise<{ readonly id: string; readonly keys: number; readonly values: number }> {
  const pseudonym = subjects.pseudonymOf(subject)
  // Values of this subject may still wait in the spool.
  await flush()
  const { keys, values, erasedAt } = await store.subject(pseudonym)
  const isKnown = keys + values > 0 || erasedAt !== null
  const outcome = isKnown ? 'success' : 'failure'
  subjects.forget(subject)
  // The record comes first: the verifier reports an erasure without a record as forged.
  const { id } = await record('subject_erased', {
    ...fields,
    resource: 'subject',
    resourceId: pseudonym,
    result: outcome,
    ...(isKnown ? undefined : { errorCode: 'SUBJECT_UNKNOWN' }),
  })
  // Values that came in the meantime must reach the store before the keys go.
  await flush()
  const erased = await store.eraseSubject(pseudonym, now())
  events.emit('audit_log.subject_erased', { outcome, details: { subject: pseudonym, ...erased } })
  return { id, ...erased }
}
