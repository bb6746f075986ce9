/** The options of a table, and the scopes of its calls. */
import type { CompoundIndex } from '../blind-index/blind-index.ts'
import { callOption, checkCall } from '../call-options.ts'
import type { PlaintextOptions } from './plaintext-columns.ts'

/** How the rows of a table are identified. */
export interface TableOptions {
  /** The member, or members, that identify a row. Their values must never change. @default 'id' */
  readonly id?: string | readonly string[]
  /**
   * The member, or members, that values are bound to, if the id is not known before the row is
   * inserted: a UUID, or a tenant and a natural key. Unique, and never changed. @default `id`
   */
  readonly bind?: string | readonly string[]
  /** The member that holds the tenant. @default none: the tenant comes with each call, or is '' */
  readonly tenant?: string
  /** The member that holds the subject, whose own keys seal the row. @default the tenant's keys do */
  readonly subject?: string
  /** Version of the schema. Rows of other versions are refused. @default 1 */
  readonly version?: number
  /** Older versions that are still read. @default none */
  readonly readVersions?: readonly number[]
  /** Blind indexes over several members, by the name of their column. @default none */
  readonly indexes?: Readonly<Record<string, CompoundIndex>>
  /** Where plaintext still is, while a table with rows is moved to encryption. @default nowhere */
  readonly plaintext?: PlaintextOptions
}

/** Which tenant the rows belong to. */
export interface RecordScope {
  /** Must equal the tenant in the row, if the row has it. @default the row's, or else '' */
  readonly tenant?: string
}

/** Which tenant the rows belong to, and who reads them. */
export interface ReadScope extends RecordScope {
  /**
   * Roles of the reader: fields are revealed, masked or left out. `null` or `undefined` is a reader
   * without roles, such as `request.principal?.roles` of an anonymous request.
   * @default without the member `roles`: the application itself, which sees everything except fields
   *   with reveal `'never'`
   */
  readonly roles?: readonly string[] | null | undefined
  /** A row whose subject is forgotten: `'withhold'` leaves its encrypted columns out. @default 'throw' */
  readonly forgotten?: 'throw' | 'withhold'
  /** A value that cannot be opened: `'withhold'` leaves it out and reports it. @default 'throw' */
  readonly unreadable?: 'throw' | 'withhold'
}

/** The options of {@link RecordScope}. */
export const recordScopeTable = { tenant: callOption.name }

const readScopeTable = {
  ...recordScopeTable,
  roles: callOption.roles,
  forgotten: callOption.oneOf('throw', 'withhold'),
  unreadable: callOption.oneOf('throw', 'withhold'),
}

/** @throws PARAPET_FIELD_ENCRYPTION_INVALID_ARGUMENT */
export function readRecordScope(call: string, scope: RecordScope = {}): RecordScope {
  checkCall<RecordScope>(call, scope, recordScopeTable)
  return scope
}

/** A scope without the member `roles` is that of the application. @throws PARAPET_FIELD_ENCRYPTION_INVALID_ARGUMENT */
export function readReadScope(call: string, scope: ReadScope = {}): ReadScope {
  checkCall<ReadScope>(call, scope, readScopeTable)
  return 'roles' in scope ? { ...scope, roles: scope.roles ?? [] } : scope
}
