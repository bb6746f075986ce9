/** Incidents in the memory of this process: bounded, for one instance, and gone when the process ends. */
import { PARAPET_INCIDENT_RESPONSE_FULL } from '../errors.ts'
import { isOpen, rankOf, type Entry, type Incident } from '../incidents/incident.ts'
import type { StoredRun } from '../runs/run.ts'
import type { Task } from '../tasks/task.ts'
import {
  CLAIMED,
  HELD_BACK,
  type Fold,
  type IncidentFilter,
  type IncidentStore,
  type Write,
} from './incident-store.ts'

interface Kept {
  incident: Incident
  readonly entries: Entry[]
  readonly runs: Map<string, StoredRun>
  readonly tasks: Map<string, Task>
}

/** Later comments of one incident push out its oldest entries. */
const MAX_ENTRIES = 5000
const MAX_FEED = 5000

/** Makes the storage. @param maxIncidents the most that are kept; closed ones give way to new ones. */
export function createMemoryIncidents(maxIncidents: number): IncidentStore {
  return new MemoryIncidents(maxIncidents)
}

class MemoryIncidents implements IncidentStore {
  readonly isDurable = false
  readonly #maxIncidents: number
  /** In the order in which they were opened. */
  readonly #kept = new Map<string, Kept>()
  readonly #open = new Map<string, string>()
  readonly #runs = new Map<string, string>()
  readonly #tasks = new Map<string, string>()
  readonly #feed: Entry[] = []
  readonly #counts = new Map<string, { readonly window: number; readonly count: number }>()
  #seq = 0

  constructor(maxIncidents: number) {
    this.#maxIncidents = maxIncidents
  }

  async commit(write: Write): Promise<readonly Entry[] | null> {
    if (!this.#isPossible(write)) return null
    for (const { next, expected } of write.incidents ?? []) {
      if (expected === null) this.#makeRoom(next)
      this.#keepIncident(next)
    }
    for (const { next, program } of write.runs ?? []) {
      const { runs } = this.#kept.get(next.incidentId)!
      runs.set(next.id, { run: next, program: program ?? runs.get(next.id)!.program })
      this.#runs.set(next.id, next.incidentId)
    }
    for (const task of write.tasks ?? []) {
      if (this.#tasks.has(task.id)) continue
      this.#tasks.set(task.id, task.incidentId)
      const state = { state: 'pending', attempts: 0, dispatches: 0, error: null } as const
      this.#kept.get(task.incidentId)!.tasks.set(task.id, { ...task, ...state })
    }
    for (const { id, state, error = null } of write.ended ?? []) this.#setTask(id, { state, error })
    for (const { id, dueAt, error = null, isHeldBack = false } of write.postponed ?? []) {
      const { attempts, dispatches } = this.#task(id)!
      const counted = isHeldBack ? { dispatches: dispatches + 1 } : { attempts: attempts + 1 }
      this.#setTask(id, { dueAt, error, ...counted })
    }
    return (write.entries ?? []).map((entry) => {
      const stored = { ...entry, details: entry.details ?? {}, seq: ++this.#seq }
      keepLast(this.#kept.get(entry.incidentId)!.entries, stored, MAX_ENTRIES)
      keepLast(this.#feed, stored, MAX_FEED)
      return stored
    })
  }

  #isPossible({ incidents = [], runs = [], ended = [], postponed = [] }: Write): boolean {
    const closing = new Set(
      incidents.filter(({ next }) => !isOpen(next)).map(({ next }) => next.id),
    )
    const isFree = (incident: Incident) =>
      !isOpen(incident) ||
      incident.fingerprints.every((fingerprint) => {
        const owner = this.#open.get(fingerprint)
        return owner === undefined || owner === incident.id || closing.has(owner)
      })
    return (
      incidents.every(
        ({ next, expected }) =>
          (this.#kept.get(next.id)?.incident.version ?? null) === expected && isFree(next),
      ) &&
      runs.every(({ next, expected }) => (this.#run(next.id)?.run.version ?? null) === expected) &&
      [...ended, ...postponed].every(({ id }) => this.#task(id)?.state === 'pending')
    )
  }

  #keepIncident(incident: Incident): void {
    const kept = this.#kept.get(incident.id)
    for (const fingerprint of kept?.incident.fingerprints ?? []) {
      if (this.#open.get(fingerprint) === incident.id) this.#open.delete(fingerprint)
    }
    if (isOpen(incident)) {
      for (const fingerprint of incident.fingerprints) this.#open.set(fingerprint, incident.id)
    }
    if (kept === undefined) {
      this.#kept.set(incident.id, { incident, entries: [], runs: new Map(), tasks: new Map() })
    } else kept.incident = incident
  }

  /** A flood of harmless incidents must not keep out a severe one. */
  #makeRoom({ severity }: Incident): void {
    if (this.#kept.size < this.#maxIncidents) return
    const all = [...this.#kept.values()]
    const closed = all.find(({ incident }) => !isOpen(incident))
    const [least] = all.toSorted(
      (a, b) => rankOf(a.incident.severity) - rankOf(b.incident.severity),
    )
    const isLess = least !== undefined && rankOf(least.incident.severity) < rankOf(severity)
    const victim = closed ?? (isLess ? least : undefined)
    if (victim === undefined) throw new PARAPET_INCIDENT_RESPONSE_FULL(this.#maxIncidents)
    this.#forget(victim)
  }

  #forget({ incident, runs, tasks }: Kept): void {
    for (const fingerprint of incident.fingerprints) {
      if (this.#open.get(fingerprint) === incident.id) this.#open.delete(fingerprint)
    }
    for (const id of runs.keys()) this.#runs.delete(id)
    for (const id of tasks.keys()) this.#tasks.delete(id)
    this.#kept.delete(incident.id)
  }

  #run(id: string): StoredRun | undefined {
    return this.#kept.get(this.#runs.get(id) ?? '')?.runs.get(id)
  }

  #task(id: string): Task | undefined {
    return this.#kept.get(this.#tasks.get(id) ?? '')?.tasks.get(id)
  }

  #setTask(id: string, change: Partial<Task>): void {
    const task = this.#task(id)!
    this.#kept.get(task.incidentId)!.tasks.set(id, { ...task, ...change })
  }

  async find(id: string): Promise<Incident | null> {
    return this.#kept.get(id)?.incident ?? null
  }

  async findOpen(fingerprint: string): Promise<Incident | null> {
    return this.find(this.#open.get(fingerprint) ?? '')
  }

  async list({ state, severity, type, assignee, before, limit }: IncidentFilter) {
    const found = [...this.#kept.values()]
      .map(({ incident }) => incident)
      .filter(
        (incident) =>
          (state === undefined || isOpen(incident) === (state === 'open')) &&
          (severity === undefined || incident.severity === severity) &&
          (type === undefined || incident.type === type) &&
          (assignee === undefined || incident.assignee === assignee) &&
          (before === undefined || incident.id < before),
      )
    return found.toSorted(latestFirst).slice(0, limit)
  }

  async between(since: number, until: number, limit: number): Promise<readonly Incident[]> {
    const all = [...this.#kept.values()].map(({ incident }) => incident)
    const found = all.filter(({ openedAt }) => openedAt >= since && openedAt < until)
    return found.toSorted(latestFirst).slice(0, limit)
  }

  async runsOf(incidentId: string) {
    return [...(this.#kept.get(incidentId)?.runs.values() ?? [])].map(({ run }) => run)
  }

  async findRun(id: string): Promise<StoredRun | null> {
    return this.#run(id) ?? null
  }

  async timeline(incidentId: string, after: number, limit: number): Promise<readonly Entry[]> {
    const entries = this.#kept.get(incidentId)?.entries ?? []
    return entries.filter(({ seq }) => seq > after).slice(0, limit)
  }

  async feed(after: number, limit: number): Promise<readonly Entry[]> {
    return this.#feed.filter(({ seq }) => seq > after).slice(0, limit)
  }

  async lastSeq(): Promise<number> {
    return this.#seq
  }

  async findTask(id: string): Promise<Task | null> {
    return this.#task(id) ?? null
  }

  async lateTasks(before: number, limit: number): Promise<readonly Task[]> {
    const late = this.#allTasks('pending').filter(({ dueAt }) => dueAt <= before)
    return late.toSorted((a, b) => a.dueAt - b.dueAt).slice(0, limit)
  }

  #allTasks(state: Task['state']): Task[] {
    const all = [...this.#kept.values()].flatMap(({ tasks }) => [...tasks.values()])
    return all.filter((task) => task.state === state)
  }

  async redispatch(id: string, dispatches: number): Promise<boolean> {
    const task = this.#task(id)
    if (task?.state !== 'pending' || task.dispatches !== dispatches) return false
    this.#setTask(id, { dispatches: dispatches + 1 })
    return true
  }

  async deadTasks(limit: number): Promise<readonly Task[]> {
    return this.#allTasks('dead')
      .toSorted((a, b) => b.dueAt - a.dueAt)
      .slice(0, limit)
  }

  async reviveTask(id: string, dueAt: number): Promise<Task | null> {
    const task = this.#task(id)
    if (task?.state !== 'dead') return null
    const dispatches = task.dispatches + 1
    this.#setTask(id, { state: 'pending', attempts: 0, dispatches, dueAt })
    return this.#task(id)!
  }

  async takeSlot({ notifier, type, severity }: Fold, window: number, limit: number) {
    const key = `${notifier} ${type} ${severity}`
    const known = this.#counts.get(key)
    const count = known?.window === window ? known.count : 0
    if (count >= limit) return false
    this.#counts.set(key, { window, count: count + 1 })
    return true
  }

  async claim({ id, dueAt }: Pick<Task, 'id' | 'dueAt'>, until: number): Promise<boolean> {
    const task = this.#task(id)
    if (task?.state !== 'pending' || task.dueAt !== dueAt) return false
    this.#setTask(id, { dueAt: until, error: CLAIMED })
    return true
  }

  async takeHeldBack(fold: Fold, now: number, until: number, limit: number) {
    const due = this.#allTasks('pending').filter(({ dueAt, error, data, incidentId }) => {
      const { type, severity } = this.#kept.get(incidentId)!.incident
      const isSame =
        data['notifier'] === fold.notifier && type === fold.type && severity === fold.severity
      return isSame && dueAt <= now && error === HELD_BACK
    })
    const taken = due.toSorted((a, b) => (a.id < b.id ? -1 : 1)).slice(0, limit)
    for (const { id } of taken) this.#setTask(id, { dueAt: until, error: CLAIMED })
    return taken.map(({ id }) => this.#task(id)!)
  }

  async prune(closedBefore: number, limit: number): Promise<number> {
    const old = [...this.#kept.values()]
      .filter(({ incident: { closedAt } }) => closedAt !== null && closedAt < closedBefore)
      .slice(0, limit)
    for (const kept of old) this.#forget(kept)
    return old.length
  }
}

/** UUIDv7 sorts by time. */
function latestFirst(a: Incident, b: Incident): number {
  return a.id < b.id ? 1 : -1
}

function keepLast<T>(list: T[], item: T, max: number): void {
  list.push(item)
  if (list.length > max) list.splice(0, list.length - max)
}
