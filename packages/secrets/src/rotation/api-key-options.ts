/** What the rotation of an API key needs from its caller. */
import type { Clock, Jobs } from '@parapet/kit'
import type { WritableProvider } from '../providers/provider.ts'
import type { Secret } from '../value/secret.ts'

/** What `rotateApiKeys` takes. */
export interface ApiKeyRotationOptions {
  /** For jobs, events and messages; the service reads the key at `<path>#current`. */
  readonly name: string
  readonly provider: WritableProvider
  readonly path: string
  readonly jobs: Jobs
  /**
   * Makes a key. `rotationId` is the same after a crash: a service that makes keys itself takes it as
   * idempotency key. An empty key, or one that is in use already, is refused.
   * @default 32 random bytes, base64url
   */
  readonly generate?: (rotationId: string) => string | Promise<string>
  /** Makes the service that checks keys accept the new one beside the old one. It may run twice. */
  readonly update: (key: Secret, rotationId: string) => Promise<void>
  /** Uses the new key. If it rejects, the old one stays current. */
  readonly verify: (key: Secret, rotationId: string) => Promise<void>
  /** Makes the old key invalid. It may run twice. */
  readonly retire: (key: Secret, rotationId: string) => Promise<void>
  /** How long both keys work after the new one became current. @default 3 600 000 */
  readonly graceMs?: number
  /** How long a step may take. @default 30_000 */
  readonly stepDeadlineMs?: number
  readonly onRotated?: (name: string, version: string, graceMs: number) => void
  readonly onFailed?: (name: string, step: string, error: unknown) => void
  /**
   * `app.secrets.reports`: emits the events `secrets.rotated`, `.rotation_advanced` and `.rotation_failed`, and lets the
   * leak guard know all keys of the record, also one that is not current yet. @default none
   */
  readonly reports?: ApiKeyReports
  readonly clock?: Clock
}

/** What was done last; `retired`: the old key, so that the rotation has ended. */
type AdvancedStep = 'stored' | 'updated' | 'promoted' | 'retired'

/** Who learns of a rotation besides the callbacks: `app.secrets.reports`. */
export interface ApiKeyReports {
  rotated(name: string, version: string, overlapMs: number): void
  rotationFailed(name: string, step: string, error: unknown): void
  /** A step is recorded. */
  rotationAdvanced(name: string, rotationId: string, step: AdvancedStep): void
  /** The keys that may work from now on, before they are used for the first time. */
  keys(name: string, keys: readonly Secret[]): void
}
