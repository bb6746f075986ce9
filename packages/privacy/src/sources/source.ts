/** A data source: where personal data is kept, why, and how it is collected and erased. */
import type { JsonValue } from '@parapet/kit'

/** GDPR article 6(1)(a) to (f). */
export const legalBases = [
  'consent',
  'contract',
  'legal-obligation',
  'vital-interests',
  'public-task',
  'legitimate-interests',
] as const

/** See {@link legalBases}. */
export type LegalBasis = (typeof legalBases)[number]

/**
 * What an erasure does to one field.
 *
 * - `delete`: the value is removed.
 * - `anonymise-email`, `anonymise-text`: a value that leads nowhere takes its place. The address is under
 *   `.invalid`, which can never receive mail (RFC 2606).
 * - `pseudonymise`: a keyed hash takes its place; equal values stay equal.
 * - `shred`: the value stays encrypted, and the port `forget` destroys the key of the subject.
 * - `{ retain }`: the value stays, for the legal reason that is named.
 */
export type FieldStrategy =
  | 'delete'
  | 'anonymise-email'
  | 'anonymise-text'
  | 'pseudonymise'
  | 'shred'
  | { readonly retain: string }

/** What a source has to do to one field, and the value to write. */
export interface PlannedField {
  readonly strategy: 'delete' | 'anonymise' | 'pseudonymise' | 'shred' | 'retain'
  /** The replacement of `anonymise` and `pseudonymise`. The same in every attempt. */
  readonly value?: string
  /** Why it is kept. */
  readonly basis?: string
}

/** The plan of an erasure for one source. */
export interface ErasurePlan {
  /** The same in every attempt: store it with the change, or make the change repeatable. */
  readonly key: string
  /** `false`: a legal hold does not apply; it was checked right before the call. */
  readonly fields: Readonly<Record<string, PlannedField>>
}

/** What every call of a source gets. */
export interface SourceContext {
  /** Aborted when the attempt has to end. */
  readonly signal: AbortSignal
}

/** A record as it is exported: flat or nested JSON. */
export type SourceRecord = Readonly<Record<string, JsonValue>>

/** A source of personal data. */
export interface PrivacySource {
  /** Lower case, letters, digits, `_` and `-`; the name of its files in an archive. */
  readonly name: string
  /** Why the data is processed, in words. */
  readonly purpose: string
  readonly legalBasis: LegalBasis
  /** Categories of data, for instance of the Fides taxonomy: `user.contact.email`. */
  readonly categories: readonly string[]
  /** Categories of people. @default ['customers'] */
  readonly subjectCategories?: readonly string[]
  /** Who receives the data. @default none */
  readonly recipients?: readonly string[]
  /** Transfers to third countries, and their safeguards. @default none */
  readonly transfers?: string
  /** How long a record is kept, in days; `null`: as long as the account. */
  readonly retentionDays: number | null
  /** Where it is stored, for the inventory: `postgresql: users`. */
  readonly storedIn: string
  /** Whether the storage is encrypted by the application. @default false */
  readonly encrypted?: boolean
  /** What an erasure does to each field. */
  readonly fields: Readonly<Record<string, FieldStrategy>>
  /**
   * Yields every record of a subject.
   *
   * @param context `after`: the cursor of the last record that is stored already; only with `cursorOf`.
   */
  readonly collect?: (
    subject: string,
    context: SourceContext & { readonly after?: string },
  ) => AsyncIterable<SourceRecord> | Iterable<SourceRecord>
  /** Says where a record is, so that an interrupted collection goes on behind it. @default it starts over */
  readonly cursorOf?: (record: SourceRecord) => string
  /** Carries out a plan. It may be called again after it has succeeded. */
  readonly erase?: (subject: string, plan: ErasurePlan, context: SourceContext) => Promise<void>
  /**
   * Counts what is left after an erasure; anything but 0 fails the part. `retained`: what can no longer be erased,
   * such as records that were written before they were encrypted: the reason by field, for the receipt.
   */
  readonly verifyErased?: (
    subject: string,
    plan: ErasurePlan,
    context: SourceContext,
  ) => Promise<{
    readonly remaining: number
    readonly retained?: Readonly<Record<string, string>>
  }>
  /** Removes for good what `erase` has left, after the grace period. */
  readonly remove?: (subject: string, plan: ErasurePlan, context: SourceContext) => Promise<void>
  /** Writes corrected values. */
  readonly rectify?: (
    subject: string,
    changes: Readonly<Record<string, string>>,
    context: SourceContext,
  ) => Promise<void>
  /** Yields the ids of all subjects, to find those to erase again after a restore. */
  readonly subjects?: (context: SourceContext) => AsyncIterable<string> | Iterable<string>
  /** Finds, and unless `dryRun` removes, the records that are older than the retention period. */
  readonly sweep?: (
    request: SourceContext & {
      /** Milliseconds since the Unix epoch. */
      readonly before: number
      readonly dryRun: boolean
      /** Whether a legal hold protects the records of a subject: leave them. */
      readonly isHeld: (subject: string) => Promise<boolean>
    },
  ) => Promise<{ readonly found: number; readonly removed: number }>
  /** JSON Schema of a record; members marked by `personal` are compared with `fields`. */
  readonly schema?: object
}

/** A source whose optional members are filled in. */
export interface RegisteredSource extends PrivacySource {
  readonly subjectCategories: readonly string[]
  readonly recipients: readonly string[]
  readonly encrypted: boolean
}
