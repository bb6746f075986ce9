/** The port of actions: what a playbook, a response or a person can do through the service. */
import type { Incident } from '../incidents/incident.ts'

/** What an action receives. */
export interface ActionCall {
  /** As it was when the action began. */
  readonly incident: Incident
  /**
   * The idempotency key: the same in every attempt of this step, and of no other. Store it with what the action
   * changes, so that a repeated call changes nothing.
   */
  readonly key: string
  /** The parameters of the step; a response passes `address`, `principalId`, `ttlMs`. */
  readonly with: Readonly<Record<string, unknown>>
  /** Aborted when the time is up, and when the server closes. */
  readonly signal: AbortSignal
  /** Who has started the run: a person, `rule:…`, or `null`. */
  readonly by: string | null
  readonly runId: string
}

/** What an action returns. */
export interface ActionResult {
  /** One sentence for the timeline: `3 sessions ended`. At most 500 characters, no secret. */
  readonly summary?: string
  /** Records that are affected, added to those of the incident. */
  readonly records?: number
  /** New values of variables that the playbook declares. */
  readonly variables?: Readonly<Record<string, string | number | boolean>>
  /** What `undo` needs, at most 4 096 characters as JSON. */
  readonly undoWith?: unknown
}

/** An action. */
export interface Action {
  /** Does it. If it rejects, it is tried again, `retries` times; then it is shown as failed. */
  run(call: ActionCall): Promise<ActionResult | void>
  /**
   * Takes it back. It may be called twice with one key, `<key>:undo`, and must then do nothing.
   *
   * @param undoWith what `run` has returned as `undoWith`.
   */
  undo?(call: ActionCall, undoWith: unknown): Promise<void>
  /** Says what `run` would do, and changes nothing; it rejects if `run` could not work. @default nothing is tried */
  dryRun?(call: ActionCall): Promise<string | void>
  /** @default 30 000 */
  readonly timeoutMs?: number
  /** Further attempts. @default 3 */
  readonly retries?: number
  /**
   * Whether a second call with the same key changes nothing. Otherwise a call whose result is unknown, because the
   * process was killed or the time was up, is not repeated: a person must look.
   *
   * @default false
   */
  readonly isRepeatable?: boolean
}

/** The actions of a service by name; a function is an action with only `run`. */
export type Actions = Readonly<Record<string, Action | Action['run']>>

/** An action with every default. */
export interface KnownAction extends Action {
  readonly timeoutMs: number
  readonly retries: number
  readonly isRepeatable: boolean
}

/** The form of a name. */
export const ACTION_NAME = /^[A-Za-z][A-Za-z0-9_-]{0,63}$/
/** How long an action may take. */
export const MAX_ACTION_MS = 3_600_000
const DEFAULT_TIMEOUT_MS = 30_000
const DEFAULT_RETRIES = 3

/** Fills in the defaults. */
export function knownAction(given: Action | Action['run']): KnownAction {
  const action: Action = typeof given === 'function' ? { run: given } : given
  const { timeoutMs = DEFAULT_TIMEOUT_MS, retries = DEFAULT_RETRIES, isRepeatable = false } = action
  return {
    run: (call) => action.run(call),
    ...(action.undo && { undo: (...call) => action.undo!(...call) }),
    ...(action.dryRun && { dryRun: (call) => action.dryRun!(call) }),
    timeoutMs,
    retries,
    isRepeatable,
  }
}

/** What is wrong with an action that was given as an option; `undefined`: nothing. */
export function actionFault(given: unknown): string | undefined {
  if (typeof given === 'function') return undefined
  if (typeof given !== 'object' || given === null)
    return 'must be a function or an object with "run"'
  const action = given as Readonly<Record<string, unknown>>
  if (typeof action['run'] !== 'function') return 'must have the method run'
  for (const name of ['undo', 'dryRun']) {
    if (action[name] !== undefined && typeof action[name] !== 'function') {
      return `needs "${name}" as a function`
    }
  }
  const { timeoutMs, retries, isRepeatable } = action
  if (!isBetween(timeoutMs, 1, MAX_ACTION_MS)) {
    return `needs "timeoutMs" as an integer from 1 to ${MAX_ACTION_MS}`
  }
  if (!isBetween(retries, 0, 20)) return 'needs "retries" as an integer from 0 to 20'
  if (isRepeatable !== undefined && typeof isRepeatable !== 'boolean') {
    return 'needs "isRepeatable" as true or false'
  }
  const known = ['run', 'undo', 'dryRun', 'timeoutMs', 'retries', 'isRepeatable']
  const unknown = Object.keys(action).find((name) => !known.includes(name))
  return unknown === undefined ? undefined : `has no "${unknown}"; known are ${known.join(', ')}`
}

function isBetween(value: unknown, min: number, max: number): boolean {
  return (
    value === undefined ||
    (Number.isSafeInteger(value) && Number(value) >= min && Number(value) <= max)
  )
}
