/** Gives tasks to the jobs. The key of a job names the task and the attempt, so that no task has two jobs at a time. */
import { createHash } from 'node:crypto'
import { jobNameOf, type Task } from '../tasks/task.ts'
import type { Service } from './context.ts'

/** The part of a task that a job needs. */
export type Dispatchable = Pick<Task, 'id' | 'kind' | 'dueAt' | 'attempts' | 'dispatches'>

const MAX_KEY = 200

/** The key of the job of a task. */
export function jobKeyOf({ id, attempts, dispatches }: Dispatchable): string {
  const name = id.length <= MAX_KEY ? id : createHash('sha256').update(id).digest('hex')
  return `${name}#${dispatches}.${attempts}`
}

/** Stores the job of a task. */
export async function dispatch({ jobs }: Service, task: Dispatchable): Promise<void> {
  const { id, kind, dueAt } = task
  await jobs.enqueue(jobNameOf(kind), { task: id }, { key: jobKeyOf(task), at: dueAt })
}
