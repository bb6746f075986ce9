/** A request of a data subject: its content, its states, and which may follow which. */
import type { StoredToken } from '../identity/one-time-token.ts'

/** GDPR articles 15, 20, 16, 18, 21 and 17. */
export const requestTypes = [
  'access',
  'portability',
  'rectification',
  'restriction',
  'objection',
  'erasure',
] as const

/** See {@link requestTypes}. */
export type RequestType = (typeof requestTypes)[number]

/**
 * `verifying`: the identity is not proved yet. `open`: an officer has to approve it. `running`: a job works
 * on it. `held`: a legal hold stops the erasure. `partial`: parts failed and are tried again. `ready`: the
 * archive can be downloaded. The others have ended.
 */
export type RequestState =
  | 'verifying'
  | 'open'
  | 'running'
  | 'held'
  | 'partial'
  | 'ready'
  | 'completed'
  | 'rejected'
  | 'withdrawn'
  | 'expired'

const NEXT: Readonly<Record<RequestState, readonly RequestState[]>> = {
  verifying: ['open', 'running', 'withdrawn', 'expired'],
  open: ['running', 'rejected', 'withdrawn'],
  running: ['running', 'held', 'partial', 'ready', 'completed'],
  held: ['running', 'rejected', 'withdrawn'],
  partial: ['running', 'held'],
  ready: ['completed'],
  completed: [],
  rejected: [],
  withdrawn: [],
  expired: [],
}

/** Whether a state may follow another one. */
export function mayFollow(from: RequestState, to: RequestState): boolean {
  return NEXT[from].includes(to)
}

/** States in which the subject has no answer yet. */
const UNANSWERED: ReadonlySet<RequestState> = new Set<RequestState>([
  'verifying',
  'open',
  'running',
  'held',
  'partial',
])

/** Whether the deadline still runs. */
export function isUnanswered(state: RequestState): boolean {
  return UNANSWERED.has(state)
}

/** Whether nothing more will happen to the request by itself. */
export function hasEnded(state: RequestState): boolean {
  return NEXT[state].length === 0
}

/** One part of an erasure or rectification: a source, the keys of the subject, or a processor. */
export interface RequestPart {
  readonly name: string
  readonly kind: 'source' | 'keys' | 'processor'
  readonly status: 'pending' | 'failed' | 'done' | 'told'
  readonly attempts: number
  /** Milliseconds since the Unix epoch: when it was done. */
  readonly at?: number
  /** What the source could not erase, with the reason, besides what it retains anyway. */
  readonly retained?: readonly { readonly field: string; readonly basis: string }[]
  /** Code or name of the last error; never its message, which may quote personal data. */
  readonly error?: string
}

/** How far the collection of an archive has come. */
export interface ArchiveProgress {
  readonly sources: readonly SourceProgress[]
  readonly isComplete: boolean
  /** Milliseconds since the Unix epoch. */
  readonly expiresAt?: number
  readonly link?: StoredToken
}

/** One source in an archive. */
export interface SourceProgress {
  readonly name: string
  readonly parts: number
  readonly records: number
  readonly bytes: number
  /** Names of the columns of the CSV, in the order in which they appeared. */
  readonly columns: readonly string[]
  /** Where to go on, if the source says where each record is. */
  readonly cursor?: string
  readonly isComplete: boolean
}

/** One step in the history of a request. */
export interface RequestStep {
  readonly at: number
  readonly state: RequestState
  /** `subject`, `officer`, `system`. */
  readonly by: string
  readonly reason?: string
}

/** What a subject asks for besides the type; sealed at rest. */
export interface RequestDetails {
  /** Rectification: the new values, by source and field. */
  readonly changes?: Readonly<Record<string, Readonly<Record<string, string>>>>
  /** Objection: purposes of consent. */
  readonly purposes?: readonly string[]
  readonly note?: string
}

/** A message to the subject that was not sent yet, sealed. */
export interface PendingMessage {
  readonly id: string
  readonly sealed: string
}

/** The stored body of a request. Times are milliseconds since the Unix epoch. */
export interface RequestBody {
  readonly id: string
  readonly type: RequestType
  readonly state: RequestState
  /** Of the subject. */
  readonly reference: string
  /** The subject's id and the details, sealed; `null` once they are not needed any more. */
  readonly sealed: string | null
  readonly openedAt: number
  readonly dueAt: number
  readonly extension?: { readonly months: number; readonly reason: string; readonly at: number }
  readonly confirmation?: StoredToken
  /** Whether the token was sent. */
  readonly isDelivered?: boolean
  /** Percentages for which a reminder was emitted. */
  readonly reminded: readonly number[]
  readonly parts: readonly RequestPart[]
  readonly archive?: ArchiveProgress
  /** A job works on the request until then. */
  readonly leaseUntil: number
  /** When what was anonymised is removed for good. */
  readonly removeAt?: number
  readonly receipt?: string
  /** The id of the message that announces an erasure. */
  readonly announcement?: string
  /** Messages that are to be sent. */
  readonly outbox?: readonly PendingMessage[]
  readonly history: readonly RequestStep[]
}

const MAX_HISTORY = 100
const MAX_OUTBOX = 20

/** The longest lease. A later end was written before the clock was set back. */
export const MAX_LEASE_MS = 3_600_000

/** Whether a job works on the request, or the next attempt has to wait. */
export function isLeased({ leaseUntil }: RequestBody, now: number): boolean {
  return leaseUntil > now && leaseUntil <= now + MAX_LEASE_MS
}

/** The body in another state, with the step in its history. */
export function inState(
  body: RequestBody,
  state: RequestState,
  step: Omit<RequestStep, 'state'>,
): RequestBody {
  const history = [...body.history, { ...step, state }].slice(-MAX_HISTORY)
  return { ...body, state, history }
}

/** The body with a message to send. @param message `undefined`: there is none */
export function withMessage(body: RequestBody, message: PendingMessage | undefined): RequestBody {
  if (message === undefined) return body
  return { ...body, outbox: [...(body.outbox ?? []), message].slice(-MAX_OUTBOX) }
}
