/** The port of the storage. All changes go through one call that happens as a whole or not at all. */
import type { Entry, Incident, IncidentSeverity, NewEntry } from '../incidents/incident.ts'
import type { Program } from '../playbooks/program.ts'
import type { Run, StoredRun } from '../runs/run.ts'
import type { NewTask, Task } from '../tasks/task.ts'

/** A new state, and the version that it follows; `null`: it is new. */
export interface Versioned<T> {
  readonly next: T
  readonly expected: number | null
}

/** What changes together. */
export interface Write {
  readonly incidents?: readonly Versioned<Incident>[]
  readonly runs?: readonly (Versioned<Run> & { readonly program?: Program })[]
  readonly entries?: readonly NewEntry[]
  /** Those whose ids are known already are left out. */
  readonly tasks?: readonly NewTask[]
  /** Pending tasks that have ended. */
  readonly ended?: readonly {
    readonly id: string
    readonly state: 'done' | 'dead'
    readonly error?: string
  }[]
  /** Pending tasks that are tried again. */
  readonly postponed?: readonly {
    readonly id: string
    readonly dueAt: number
    readonly error?: string
    /** It was held back, which is no attempt that has failed. */
    readonly isHeldBack?: boolean
  }[]
}

/** The error of a message that was held back. */
export const HELD_BACK = 'held back: too many messages of this kind'

/** The error of a message that is being sent: until it is due again, no other job sends it. */
export const CLAIMED = 'being sent'

/** Messages that are folded with each other: to one receiver, about incidents of one kind. */
export interface Fold {
  readonly notifier: string
  readonly type: string
  readonly severity: IncidentSeverity
}

/** Which incidents to list, the latest first. */
export interface IncidentFilter {
  readonly state?: 'open' | 'closed'
  readonly severity?: IncidentSeverity
  readonly type?: string
  readonly assignee?: string
  /** Only incidents that are older than the one with this id. */
  readonly before?: string
  readonly limit: number
}

/** Stores incidents, their timelines and runs, and tasks. */
export interface IncidentStore {
  /** `false`: they end with the process. */
  readonly isDurable: boolean
  /**
   * Changes everything, or nothing.
   *
   * @returns the entries; `null`: a version is another one, a task is not pending, or an open incident has the
   *   fingerprint. Nothing was changed.
   * @throws PARAPET_INCIDENT_RESPONSE_FULL memory only.
   */
  commit(write: Write): Promise<readonly Entry[] | null>
  find(id: string): Promise<Incident | null>
  findOpen(fingerprint: string): Promise<Incident | null>
  list(filter: IncidentFilter): Promise<readonly Incident[]>
  /** Opened from `since` on and before `until`, at most `limit`, the latest first. */
  between(since: number, until: number, limit: number): Promise<readonly Incident[]>
  runsOf(incidentId: string): Promise<readonly Run[]>
  findRun(id: string): Promise<StoredRun | null>
  timeline(incidentId: string, after: number, limit: number): Promise<readonly Entry[]>
  /** Entries of all incidents. @param after `null`: none, only the number of the last one is wanted */
  feed(after: number, limit: number): Promise<readonly Entry[]>
  lastSeq(): Promise<number>
  findTask(id: string): Promise<Task | null>
  /** Pending tasks that were due at `before`, the oldest first. */
  lateTasks(before: number, limit: number): Promise<readonly Task[]>
  /** Counts that a task was given to the jobs again. */
  redispatch(id: string, dispatches: number): Promise<boolean>
  /** Dead tasks, the latest first. */
  deadTasks(limit: number): Promise<readonly Task[]>
  /** Makes a dead task pending. */
  reviveTask(id: string, dueAt: number): Promise<Task | null>
  /** Counts a message in a window of time. @returns `false`: it is one too many, for all instances together. */
  takeSlot(fold: Fold, window: number, limit: number): Promise<boolean>
  /**
   * Claims a pending message: of concurrent callers with the same time, one succeeds.
   *
   * @param until it is due again then, if its process ends before it was sent.
   */
  claim(task: Pick<Task, 'id' | 'dueAt'>, until: number): Promise<boolean>
  /** Claims messages that were held back and are due: of concurrent callers, one gets each. @param until as of `claim` */
  takeHeldBack(fold: Fold, now: number, until: number, limit: number): Promise<readonly Task[]>
  /** Deletes incidents that were closed before. @returns how many. */
  prune(closedBefore: number, limit: number): Promise<number>
}
