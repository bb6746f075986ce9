/** What the operations of the service share. */
import { withDeadline, type Cipher, type Clock, type Jobs, type Store } from '@parapet/kit'
import type { ConsentCache } from '../consent/consent-cache.ts'
import type { Consents } from '../consent/consents.ts'
import type { ConsentPurpose } from '../consent/purpose.ts'
import { PARAPET_PRIVACY_FAILED, PARAPET_PRIVACY_TIMEOUT } from '../errors.ts'
import { reasonOf, type ForgetKeys } from '../erasure/erase.ts'
import type { Processor } from '../erasure/processor.ts'
import type { ArchiveParts } from '../export/archive-parts.ts'
import type { Pseudonyms } from '../identity/pseudonyms.ts'
import type { ReceiptSigner } from '../identity/receipts.ts'
import type { Ledger } from '../ledger/ledger.ts'
import type { Holds } from '../requests/holds.ts'
import type { RequestType } from '../requests/request.ts'
import type { RequestRepository } from '../requests/request-repository.ts'
import type { Controller } from '../sources/processing-register.ts'
import type { SourceRegistry } from '../sources/registry.ts'
import type { Records } from '../storage/records.ts'

/** How the identity behind a request is proved. */
export type Verification = 'token' | 'step-up' | 'both'

/** A message to a subject. The application sends it, to an address that it has on record. */
export interface SubjectMessage {
  /**
   * `confirm`: the `token` confirms the request. `login`: the subject has to log in and ask there. `running`:
   * an erasure begins; it is the last message that can be sent to an address which the erasure removes.
   * `ready`: the archive can be downloaded, by the `token` if a token alone proves the identity for this type,
   * otherwise after a login. The others say what became of the request.
   */
  readonly kind:
    | 'confirm'
    | 'login'
    | 'running'
    | 'ready'
    | 'held'
    | 'rejected'
    | 'extended'
    | 'completed'
  readonly subject: string
  readonly type: RequestType
  readonly requestId?: string
  /** Of a message that a job sends: the same in each attempt, so that a repetition can be recognised. */
  readonly id?: string
  /** A secret: put it behind the `#` of a link, so that no log gets it. */
  readonly token?: string
  /** Milliseconds since the Unix epoch. */
  readonly expiresAt?: number
  readonly reason?: string
}

/** Sends a message to a subject. */
export type DeliverMessage = (message: SubjectMessage) => Promise<unknown>

/** Finds the subject behind an address or number; `null`: nobody. */
export type FindSubject = (contact: string) => Promise<string | null>

/** The parts and settings of the service. */
export interface PrivacyContext {
  readonly records: Records
  readonly parts: ArchiveParts
  readonly requests: RequestRepository
  readonly holds: Holds
  readonly consents: Consents
  readonly cache: ConsentCache
  readonly registry: SourceRegistry
  readonly ledger: Ledger
  readonly pseudonyms: Pseudonyms
  readonly signer: ReceiptSigner
  readonly cipher: Cipher
  readonly jobs: Jobs
  readonly clock: Clock
  readonly emit: EmitPrivacyEvent
  readonly onError: (error: unknown, message: string) => void
  /** Tells other instances that the consents of a subject have changed. */
  readonly announce: (subject: string) => Promise<void>
  readonly settings: PrivacyServiceSettings
}

/** Emits an event. @param request a Fastify request, which names who asked */
export type EmitPrivacyEvent = (
  type: `privacy.${string}`,
  details: object,
  request?: unknown,
) => void

/** The settings that the operations read. */
interface PrivacyServiceSettings {
  readonly controller: Controller
  readonly processors: readonly Processor[]
  readonly purposes: Readonly<Record<string, ConsentPurpose>>
  readonly verify: Readonly<Record<RequestType, Verification>>
  readonly approve: readonly RequestType[]
  readonly deliver: DeliverMessage | undefined
  readonly findSubject: FindSubject | undefined
  readonly contactsPerHour: number
  readonly requestsPerDay: number
  readonly store: Store | undefined
  readonly forget: ForgetKeys | undefined
  readonly confirmationTtlMs: number
  readonly archiveTtlMs: number
  readonly removeAfterDays: number
  readonly backupsKeptDays: number
  readonly requestsKeptDays: number
  readonly portDeadlineMs: number
  readonly partDeadlineMs: number
}

/** The names of the jobs. */
export const jobNames = {
  run: 'privacy.run',
  identify: 'privacy.identify',
  tell: 'privacy.tell',
  tick: 'privacy.tick',
  sweep: 'privacy.sweep',
} as const

/** Calls a port of the application within its deadline. @throws PARAPET_PRIVACY_TIMEOUT, PARAPET_PRIVACY_FAILED */
export function callPort<T>(
  context: Pick<PrivacyContext, 'clock' | 'settings'>,
  name: string,
  call: () => T | Promise<T>,
): Promise<T> {
  return askPort(context, name, async () => {
    try {
      return await call()
    } catch (error) {
      throw new PARAPET_PRIVACY_FAILED(`The option "${name}"`, reasonOf(error))
    }
  })
}

/** As {@link callPort}, for a port whose error is the response. @throws PARAPET_PRIVACY_TIMEOUT, and what it throws */
export function askPort<T>(
  { clock, settings }: Pick<PrivacyContext, 'clock' | 'settings'>,
  name: string,
  call: () => T | Promise<T>,
): Promise<T> {
  const { portDeadlineMs } = settings
  const late = () => new PARAPET_PRIVACY_TIMEOUT(`The option "${name}"`, portDeadlineMs)
  return withDeadline((async () => call())(), portDeadlineMs, late, clock)
}

/** The context of the seal of a message in a job. */
const MESSAGE = ['privacy', 'message']

/**
 * Tells a subject something that must arrive: a job sends it, and again if that fails.
 *
 * @param key of the job: one message under it is sent.
 */
export async function tell(
  { cipher, jobs, settings }: Pick<PrivacyContext, 'cipher' | 'jobs' | 'settings'>,
  message: SubjectMessage,
  key: string,
): Promise<void> {
  if (settings.deliver === undefined) return
  const sealed = await cipher.seal(JSON.stringify(message), MESSAGE)
  await jobs.enqueue(jobNames.tell, { sealed }, { key })
}

/** The job behind {@link tell}. */
export async function deliverSealed(
  context: PrivacyContext,
  { sealed }: { readonly sealed: string },
): Promise<void> {
  const { deliver } = context.settings
  if (deliver === undefined) return
  const text = (await context.cipher.open(sealed, MESSAGE)).toString()
  await callPort(context, 'deliver', () => deliver(JSON.parse(text) as SubjectMessage))
}

/**
 * Reads what the application iterates over; each step has to come within its time.
 *
 * @throws PARAPET_PRIVACY_TIMEOUT
 */
export async function* eachInTime<T>(
  { clock }: Pick<PrivacyContext, 'clock'>,
  name: string,
  deadlineMs: number,
  items: AsyncIterable<T> | Iterable<T>,
): AsyncIterable<T> {
  const late = () => new PARAPET_PRIVACY_TIMEOUT(name, deadlineMs)
  const iterator =
    Symbol.asyncIterator in items ? items[Symbol.asyncIterator]() : items[Symbol.iterator]()
  try {
    for (;;) {
      const step = await withDeadline((async () => iterator.next())(), deadlineMs, late, clock)
      if (step.done === true) return
      yield step.value
    }
  } finally {
    // One that hangs is not waited for.
    void Promise.resolve(iterator.return?.()).catch(() => {})
  }
}
