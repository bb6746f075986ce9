/** Looks for what was lost, and deletes what is old. */
import { jobNameOf, type Task } from '../tasks/task.ts'
import type { Service } from './context.ts'
import { dispatch, jobKeyOf } from './dispatch.ts'

/** How long a task may be late before it is looked for. */
const LATE_MS = 30_000
const MAX_LATE = 500

/** Finds tasks whose jobs were lost, for instance with the database of the jobs, and gives them to the jobs again. */
export async function sweepTasks(service: Service): Promise<void> {
  const { store, clock } = service
  const late = await store.lateTasks(clock.now() - LATE_MS, MAX_LATE)
  for (const task of late) {
    try {
      if (await hasJob(service, task)) continue
      if (!(await store.redispatch(task.id, task.dispatches))) continue
      await dispatch(service, { ...task, dispatches: task.dispatches + 1 })
    } catch (error) {
      service.report.error(error)
    }
  }
}

async function hasJob({ jobs }: Service, task: Task): Promise<boolean> {
  const job = await jobs.find(jobNameOf(task.kind), jobKeyOf(task))
  return job?.state === 'waiting' || job?.state === 'running'
}

const MAX_PRUNED = 100

/** Deletes incidents that were closed long ago. */
export async function pruneIncidents({ store, settings, clock }: Service): Promise<void> {
  if (settings.retentionMs === 0) return
  await store.prune(clock.now() - settings.retentionMs, MAX_PRUNED)
}
