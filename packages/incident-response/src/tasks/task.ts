/**
 * Tasks: what must happen later, stored in the same transaction as the change that causes it. A job only says "look at
 * this task"; that a task is carried out once is decided where the task is stored.
 */
import type { JobData } from '@parapet/kit'

/** What a task is for. */
export type TaskKind =
  /** Carries out a step, or ends a wait. */
  | 'step'
  /** Sends a message. */
  | 'notify'
  /** The time to respond is over. */
  | 'respond'
  /** A phase or the work of a person takes too long. */
  | 'overdue'
  /** Starts a playbook. */
  | 'start'
  /** Starts an automated response. */
  | 'response'

/** A task before it is stored. */
export interface NewTask {
  /** At most 200 characters; a second task with one id is not stored. */
  readonly id: string
  readonly incidentId: string
  readonly kind: TaskKind
  readonly dueAt: number
  readonly data: JobData
}

/** A task as it is stored. */
export interface Task extends NewTask {
  readonly state: 'pending' | 'done' | 'dead'
  /** Attempts that have failed. */
  readonly attempts: number
  /** How often it was given to the jobs again, because its job was lost. */
  readonly dispatches: number
  readonly error: string | null
}

/** The job that looks at tasks of a kind. Slow receivers of messages must not delay deadlines. */
export function jobNameOf(kind: TaskKind): string {
  if (kind === 'step') return 'incident-response.step'
  return kind === 'notify' ? 'incident-response.notify' : 'incident-response.timer'
}

/** Every job that looks at tasks. */
export const taskJobNames = Object.freeze([
  'incident-response.step',
  'incident-response.notify',
  'incident-response.timer',
])

/** A text in the data of a task. */
export function textIn(data: JobData, name: string): string {
  const value = data[name]
  return typeof value === 'string' ? value : ''
}
