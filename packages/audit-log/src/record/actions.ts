/** The registry of actions: their fields, durability and availability policy. */
import { PARAPET_AUDIT_LOG_INVALID_RECORD } from '../errors.ts'

/** The type of a data field; a `?` at the end makes the field optional. */
type FieldType = 'text' | 'integer' | 'number' | 'boolean' | 'ids' | 'json'

/** How an action is recorded; every member is optional. */
export interface ActionDefinition {
  /** The type of the resource, for example `user`. */
  readonly resource?: string
  /** The fields of `data`. `ids` keeps the first 10 ids and their count. @default any field */
  readonly data?: Readonly<Record<string, FieldType | `${FieldType}?`>>
  /** `durable`: on disk before the reply. `deferred`: on disk soon after it. @default 'durable' */
  readonly durability?: 'durable' | 'deferred'
  /**
   * If the record cannot be stored: `closed` refuses the request with 503, `open` continues and records
   * the gap later. @default 'closed'
   */
  readonly whenUnavailable?: 'closed' | 'open'
  /** `attempt+outcome`: a first record is on disk before the handler runs. @default 'outcome' */
  readonly phases?: 'outcome' | 'attempt+outcome'
  /** The OCSF class. @default by the name of the action, else `api_activity` */
  readonly ocsf?: OcsfClass
}

/** The OCSF classes that records can map to. @see https://schema.ocsf.io */
export type OcsfClass =
  | 'authentication'
  | 'account_change'
  | 'user_access'
  | 'entity_management'
  | 'datastore_activity'
  | 'detection_finding'
  | 'api_activity'

/** Action definitions by name. */
export type ActionTable = Readonly<Record<string, ActionDefinition>>

type ValueOf<T> = T extends `${infer F}?` ? ValueOf<F> : T extends keyof Values ? Values[T] : never
interface Values {
  text: string
  integer: number
  number: number
  boolean: boolean
  ids: readonly (string | number)[]
  json: unknown
}
type Simplify<T> = { [K in keyof T]: T[K] }
type DataOf<D> = Simplify<
  { readonly [K in keyof D as D[K] extends `${string}?` ? never : K]: ValueOf<D[K]> } & {
    readonly [K in keyof D as D[K] extends `${string}?` ? K : never]?: ValueOf<D[K]>
  }
>

/**
 * The data types of a table of actions, for declaration merging:
 *
 * ```ts
 * declare module '@parapet/audit-log' {
 *   interface AuditActionTypes extends ActionTypes<typeof actions> {}
 * }
 * ```
 */
export type ActionTypes<T extends ActionTable> = {
  readonly [A in keyof T & string]: T[A] extends { readonly data: infer D }
    ? DataOf<D>
    : Readonly<Record<string, unknown>>
}

/** The app's actions, by declaration merging with {@link ActionTypes}. While it is empty, any name compiles. */
// oxlint-disable-next-line typescript/no-empty-object-type -- apps merge members into it
export interface AuditActionTypes {}

/** The name of an action. */
export type AuditAction = [keyof AuditActionTypes] extends [never]
  ? string
  : Extract<keyof AuditActionTypes, string>

/** The type of an action's data. */
export type AuditData<A extends string> = A extends keyof AuditActionTypes
  ? AuditActionTypes[A]
  : Readonly<Record<string, unknown>>

/** Types and freezes a table for the option `actions`. */
export function defineActions<const T extends ActionTable>(actions: T): T {
  return Object.freeze(actions)
}

/** An action with all defaults filled in. */
export interface ResolvedAction {
  readonly name: string
  readonly resource: string | undefined
  readonly data: ActionDefinition['data']
  readonly durable: boolean
  readonly closed: boolean
  readonly attempt: boolean
}

const NAME = /^[a-z][a-z0-9_]{0,63}(?:\.[a-z0-9_]{1,64}){0,5}$/
const MAX_IDS = 10
const MAX_UNDEFINED = 1000

/** Finds actions by name. */
export class ActionRegistry {
  readonly #actions = new Map<string, ResolvedAction>()
  readonly #strict: boolean

  /** @param table without a table, every well-formed name is an action with the defaults. */
  constructor(table: ActionTable | undefined) {
    this.#strict = table !== undefined
    for (const [name, definition] of Object.entries(table ?? {})) {
      this.#actions.set(name, resolve(name, definition))
    }
  }

  /** @throws PARAPET_AUDIT_LOG_INVALID_RECORD the name is malformed or missing in the table. */
  get(name: string): ResolvedAction {
    const known = this.#actions.get(name)
    if (known !== undefined) return known
    if (this.#strict) {
      throw new PARAPET_AUDIT_LOG_INVALID_RECORD(
        `the action "${name.slice(0, 80)}" is not in the option "actions"`,
      )
    }
    return this.getOpen(name)
  }

  /** Like {@link get}, but the name may be missing in the table: for security events and `undeclared`. */
  getOpen(name: string): ResolvedAction {
    const known = this.#actions.get(name)
    if (known !== undefined) return known
    if (!isActionName(name)) {
      throw new PARAPET_AUDIT_LOG_INVALID_RECORD(
        `an action must have a name like "user.role.change", got "${name.slice(0, 80)}"`,
      )
    }
    const action = resolve(name, {})
    if (this.#actions.size < MAX_UNDEFINED) this.#actions.set(name, action)
    return action
  }
}

/** Whether a text is a well-formed action name. */
export function isActionName(name: string): boolean {
  return NAME.test(name)
}

function resolve(name: string, definition: ActionDefinition): ResolvedAction {
  return Object.freeze({
    name,
    resource: definition.resource,
    data: definition.data,
    durable: definition.durability !== 'deferred',
    closed: definition.whenUnavailable !== 'open',
    attempt: definition.phases === 'attempt+outcome',
  })
}

/**
 * Validates the data of a record against its action, and shortens lists of ids.
 *
 * @throws PARAPET_AUDIT_LOG_INVALID_RECORD a field is unknown, missing or has the wrong type.
 */
export function checkData(action: ResolvedAction, data: object | undefined): object | undefined {
  if (action.data === undefined) return data
  const given = (data ?? {}) as Record<string, unknown>
  const checked: Record<string, unknown> = {}
  for (const name of Object.keys(given)) {
    if (!Object.hasOwn(action.data, name))
      refuse(action, `does not declare the data field "${name.slice(0, 80)}"`)
  }
  for (const [name, declared] of Object.entries(action.data)) {
    const value = given[name]
    const type = declared.replace('?', '') as FieldType
    if (value === undefined && declared.endsWith('?')) continue
    if (!fits(type, value)) {
      refuse(action, `needs the data field "${name}" of type ${type}, got ${typeof value}`)
    }
    checked[name] = type === 'ids' ? firstIds(value as readonly unknown[]) : value
  }
  return checked
}

/** The first 10 ids, and the count of all. */
export function firstIds(ids: readonly unknown[]): { count: number; first: string[] } {
  return { count: ids.length, first: ids.slice(0, MAX_IDS).map(String) }
}

function fits(type: FieldType, value: unknown): boolean {
  // The type of a marked value is not checked.
  if (typeof value === 'object' && value !== null && type !== 'ids') return true
  switch (type) {
    case 'text':
      return typeof value === 'string'
    case 'integer':
      return Number.isSafeInteger(value)
    case 'number':
      return typeof value === 'number'
    case 'boolean':
      return typeof value === 'boolean'
    case 'ids':
      return Array.isArray(value)
    case 'json':
    default:
      return value !== undefined
  }
}

function refuse(action: ResolvedAction, problem: string): never {
  throw new PARAPET_AUDIT_LOG_INVALID_RECORD(`the action "${action.name}" ${problem}`)
}
