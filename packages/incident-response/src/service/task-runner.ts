/** The jobs of this plugin: each looks at one task and carries it out. */
import { withDeadline, type Job } from '@parapet/kit'
import { MAX_ACTION_MS } from '../actions/action.ts'
import { PARAPET_INCIDENT_RESPONSE_CLOSED } from '../errors.ts'
import { leavesOf } from '../playbooks/program.ts'
import { type Task, taskJobNames, textIn } from '../tasks/task.ts'
import { carryOut } from './carry-out.ts'
import type { Service } from './context.ts'
import { escalate, reportOverdue } from './deadlines.ts'
import { sendMessage } from './send.ts'
import { startResponse, startTriggered } from './start-run.ts'
import { pruneIncidents, sweepTasks } from './sweep.ts'

/** The jobs of the plugin. */
export interface TaskRunner {
  /** Starts what repeats, and the jobs. */
  start(): Promise<void>
  /** Waits for what runs, then aborts it. */
  close(drainMs: number): Promise<void>
  /** Resolves when nothing runs on this instance. */
  idle(): Promise<void>
}

const SWEEP = 'incident-response.sweep'
const SWEEP_MS = 60_000
/** What a job needs besides its action or message: writes to the database. */
const MARGIN_MS = 20_000
const CONCURRENCY = 8
/** Of a job: the database may be away for an hour. */
const RETRIES = 20

/** Defines the jobs. @param abort ends what runs. */
export function createTaskRunner(service: Service, abort: (reason: Error) => void): TaskRunner {
  const { jobs, store, clock, settings } = service
  const running = new Set<Promise<void>>()
  let isClosed = false

  const track = (work: () => Promise<void>): Promise<void> => {
    // The job is tried again, by another instance.
    if (isClosed) return Promise.reject(new PARAPET_INCIDENT_RESPONSE_CLOSED())
    const promise = work()
    running.add(promise)
    const forget = (): void => void running.delete(promise)
    promise.then(forget, forget)
    return promise
  }
  const handle = async ({ data, signal }: Job): Promise<void> => {
    const task = await store.findTask(textIn(data, 'task'))
    if (task?.state === 'pending') await carryOutTask(service, task, signal)
  }
  const longestMs = { step: longestActionMs(service), other: settings.deadlineMs }
  for (const name of taskJobNames) {
    const limit = name.endsWith('.step') ? longestMs.step : longestMs.other
    const timeoutMs = limit + MARGIN_MS
    jobs.define(name, (job) => track(() => handle(job)), {
      timeoutMs,
      concurrency: CONCURRENCY,
      retries: RETRIES,
    })
  }
  jobs.define(SWEEP, () =>
    track(async () => {
      await sweepTasks(service)
      await pruneIncidents(service)
    }),
  )

  const idle = async (): Promise<void> => {
    while (running.size > 0) await Promise.allSettled(running)
  }
  return {
    idle,
    async start() {
      await jobs.start()
      await jobs.every(SWEEP, SWEEP_MS)
    },
    async close(drainMs) {
      isClosed = true
      await withDeadline(idle(), drainMs, createClosed, clock).catch(() => {})
      abort(new PARAPET_INCIDENT_RESPONSE_CLOSED())
    },
  }
}

async function carryOutTask(service: Service, task: Task, signal: AbortSignal): Promise<void> {
  switch (task.kind) {
    case 'step':
      return carryOut(service, task, signal)
    case 'notify':
      return sendMessage(service, task, signal)
    case 'respond':
      return escalate(service, task)
    case 'overdue':
      return reportOverdue(service, task)
    case 'start':
      return startTriggered(service, task)
    case 'response':
      return startResponse(service, task)
  }
}

/** The job must outlive the longest action. */
function longestActionMs({ actions, library }: Service): number {
  const ofSteps = [...library.programs.values()]
    .flatMap(({ root }) => leavesOf(root))
    .map((leaf) => (leaf.kind === 'action' ? (leaf.timeoutMs ?? 0) : 0))
  const ofActions = [...actions.values()].map(({ timeoutMs }) => timeoutMs)
  // An undo runs several actions one after the other.
  return Math.min(3 * Math.max(30_000, ...ofSteps, ...ofActions), 3 * MAX_ACTION_MS)
}

function createClosed(): Error {
  return new PARAPET_INCIDENT_RESPONSE_CLOSED()
}
