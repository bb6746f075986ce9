/** The reader of the log, as a read is recorded. */
import type { AuditFields } from '../record/fields.ts'

/** Who reads the log, and from where. */
export type ReaderFields = Pick<
  AuditFields,
  'principal' | 'actor' | 'session' | 'tenant' | 'ip' | 'userAgent' | 'requestId' | 'route'
>
