/** What a caller may pass for one record. */
import type { Change } from './diff.ts'
import type { AuditResult } from './leaf.ts'
import type { HashedValue, PersonalValue } from './marks.ts'

/** A text, or a text marked with `pii` or `hmac`. */
export type Markable = string | PersonalValue | HashedValue

/** The fields of one record; all are optional. */
export interface AuditFields<D = Readonly<Record<string, unknown>>> {
  readonly principal?: Markable
  /** The operator who acted as the principal. */
  readonly actor?: Markable
  readonly session?: Markable
  readonly tenant?: Markable
  readonly ip?: Markable
  readonly userAgent?: Markable
  /** The type of the resource. @default that of the action */
  readonly resource?: string
  readonly resourceId?: Markable
  /** The state before (unless it was created) and after (unless it was deleted), or a list of changes. Members with secret names are redacted. */
  readonly changes?: { readonly before?: unknown; readonly after?: unknown } | readonly Change[]
  /** @default 'success' */
  readonly result?: AuditResult
  readonly errorCode?: string
  readonly requestId?: string
  /** Method and route pattern: `GET /users/:id`. */
  readonly route?: string
  readonly severity?: string
  /** The fields that the action declares. */
  readonly data?: D
}

/** Members that only the plugin sets. */
export interface InternalFields {
  /** The status code of the reply. */
  readonly status?: number
  /** @default a new UUIDv7 */
  readonly id?: string
  /** Milliseconds since the Unix epoch. @default now */
  readonly time?: number
  readonly phase?: 'attempt' | 'outcome'
  readonly attemptId?: string
}
