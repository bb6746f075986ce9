/** The registry of actions: what may be recorded, with which fields, and how carefully. */
import { PARAPET_AUDIT_LOG_INVALID_RECORD } from '../errors.ts'

/** What a field of an action holds; a `?` at its end makes it optional. */
type FieldType = 'text' | 'integer' | 'number' | 'boolean' | 'ids' | 'json'

/** How an action is recorded. Every member has a default. */
export interface ActionDefinition {
  /** What kind of thing it is done to. */
  readonly resource?: string
  /** The action's own fields; without it, any field passes. `ids` keeps the first 10 and the count. */
  readonly data?: Readonly<Record<string, FieldType | `${FieldType}?`>>
  /** `durable`: on disk before the reply. `deferred`: on disk soon after. @default 'durable' */
  readonly durability?: 'durable' | 'deferred'
  /** What happens when no record can be stored: `closed` refuses with 503, `open` goes on, counts, and records the gap later. @default 'closed' */
  readonly whenUnavailable?: 'closed' | 'open'
  /** `attempt+outcome`: a first record is durable before the handler runs. @default 'outcome' */
  readonly phases?: 'outcome' | 'attempt+outcome'
  /** The OCSF class it is mapped to. @default by the action's name, else `api_activity` */
  readonly ocsf?: OcsfClass
}

/** The classes of OCSF that records map to. @see https://schema.ocsf.io */
export type OcsfClass =
  | 'authentication'
  | 'account_change'
  | 'user_access'
  | 'entity_management'
  | 'datastore_activity'
  | 'detection_finding'
  | 'api_activity'

/** Actions by name. */
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
 * The data of each action of a table, for declaration merging:
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

/** The actions of the app, by declaration merging with {@link ActionTypes}; while it is empty, any name passes the compiler. */
// oxlint-disable-next-line typescript/no-empty-object-type -- users fill it
export interface AuditActionTypes {}

/** The name of an action. */
export type AuditAction = [keyof AuditActionTypes] extends [never]
  ? string
  : Extract<keyof AuditActionTypes, string>

/** The data of an action. */
export type AuditData<A extends string> = A extends keyof AuditActionTypes
  ? AuditActionTypes[A]
  : Readonly<Record<string, unknown>>

/** Types a table of actions, for the option `actions`. */
export function defineActions<const T extends ActionTable>(actions: T): T {
  return Object.freeze(actions)
}

/** An action with every default filled in. */
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

  /** @param table without one, every well-formed name is an action with the defaults. */
  constructor(table: ActionTable | undefined) {
    this.#strict = table !== undefined
    for (const [name, definition] of Object.entries(table ?? {})) {
      this.#actions.set(name, resolve(name, definition))
    }
  }

  /** @throws PARAPET_AUDIT_LOG_INVALID_RECORD the name is malformed, or not in the table. */
  get(name: string): ResolvedAction {
    const known = this.#actions.get(name)
    if (known !== undefined) return known
    if (this.#strict) {
      throw new PARAPET_AUDIT_LOG_INVALID_RECORD(`the action "${name.slice(0, 80)}" is not defined`)
    }
    return this.getOpen(name)
  }

  /** As {@link get}, for names that come from plugins: never refused for not being in the table. */
  getOpen(name: string): ResolvedAction {
    const known = this.#actions.get(name)
    if (known !== undefined) return known
    if (!isActionName(name)) {
      throw new PARAPET_AUDIT_LOG_INVALID_RECORD('an action is named like "user.role.change"')
    }
    const action = resolve(name, {})
    if (this.#actions.size < MAX_UNDEFINED) this.#actions.set(name, action)
    return action
  }

  /** Every action known so far. */
  values(): Iterable<ResolvedAction> {
    return this.#actions.values()
  }
}

/** Whether a text may name an action. */
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
 * Checks the data of a record against its action, and shortens lists of ids.
 *
 * @throws PARAPET_AUDIT_LOG_INVALID_RECORD a field is unknown, missing or of another type.
 */
export function checkData(action: ResolvedAction, data: object | undefined): object | undefined {
  if (action.data === undefined) return data
  const given = (data ?? {}) as Record<string, unknown>
  const checked: Record<string, unknown> = {}
  for (const name of Object.keys(given)) {
    if (!Object.hasOwn(action.data, name)) refuse(action, `has no field "${name.slice(0, 80)}"`)
  }
  for (const [name, declared] of Object.entries(action.data)) {
    const value = given[name]
    const type = declared.replace('?', '') as FieldType
    if (value === undefined && declared.endsWith('?')) continue
    if (!fits(type, value)) refuse(action, `needs "${name}" as ${type}`)
    checked[name] = type === 'ids' ? firstIds(value as readonly unknown[]) : value
  }
  return checked
}

/** The first ten ids, and how many there are. */
export function firstIds(ids: readonly unknown[]): { count: number; first: string[] } {
  return { count: ids.length, first: ids.slice(0, MAX_IDS).map(String) }
}

function fits(type: FieldType, value: unknown): boolean {
  // A marked value hides its type; what is under the mark is the caller's word.
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
  throw new PARAPET_AUDIT_LOG_INVALID_RECORD(`"${action.name}" ${problem}`)
}
