/** The port of the places where secrets are stored. */
import { systemClock, withDeadline, type Clock } from '@parapet/kit'
import { PARAPET_SECRETS_NOT_FOUND, PARAPET_SECRETS_PROVIDER_TIMEOUT } from '../errors.ts'

/** A secret as a provider returns it. */
export interface ProvidedSecret {
  readonly value: string
  /** Changes whenever the value does: a version, a modification time, a lease; never the value itself. */
  readonly version: string
  /** When it stops working, in milliseconds since the epoch. @default never */
  readonly expiresAt?: number
}

/** What `doctor` reports of a provider. */
export interface ProviderFinding {
  readonly severity: 'error' | 'warning'
  readonly problem: string
  readonly fix: string
}

/** A place where secrets are stored. */
export interface SecretsProvider {
  /** Short, for messages: `vault`. */
  readonly name: string
  /**
   * Reads one secret.
   *
   * @param path what the provider calls it; a member of a JSON object follows behind `#`.
   * @throws PARAPET_SECRETS_NOT_FOUND, PARAPET_SECRETS_PROVIDER_FAILED, PARAPET_SECRETS_PROVIDER_TIMEOUT
   */
  read(path: string): Promise<ProvidedSecret>
  /** Calls back when secrets may have changed. @returns a function that stops it. */
  watch?(onChange: () => void): () => void
  /** Reports problems of the connection, the credentials or the storage of these secrets. */
  inspect?(paths: readonly string[]): Promise<readonly ProviderFinding[]>
  /** Ends leases, timers and connections. */
  close?(): Promise<void>
}

/** A provider that can also write, compared with what was read. */
export interface WritableProvider extends SecretsProvider {
  /**
   * Reads a whole JSON object of texts.
   *
   * @returns `null` if there is none.
   */
  readRecord(path: string): Promise<StoredRecord | null>
  /**
   * Writes it, if its version is still the one that was read; `null`: if there is none yet.
   *
   * @throws PARAPET_SECRETS_CONFLICT another writer was faster.
   */
  writeRecord(
    path: string,
    record: Readonly<Record<string, string>>,
    expected: string | null,
  ): Promise<string>
}

/** A JSON object of texts and its version. */
export interface StoredRecord {
  readonly record: Readonly<Record<string, string>>
  readonly version: string
}

/** Splits `path#member`. */
export function splitPath(path: string): { readonly place: string; readonly member?: string } {
  const at = path.lastIndexOf('#')
  return at < 0 ? { place: path } : { place: path.slice(0, at), member: path.slice(at + 1) }
}

/** The text of a member; a record with a single member needs none. @throws PARAPET_SECRETS_NOT_FOUND */
export function pickMember(record: Readonly<Record<string, unknown>>, path: string): string {
  const { member } = splitPath(path)
  const names = Object.keys(record)
  const name = member ?? (names.length === 1 ? names[0]! : 'value')
  const value = Object.hasOwn(record, name) ? record[name] : undefined
  if (typeof value === 'string' && value !== '') return value
  throw new PARAPET_SECRETS_NOT_FOUND(member === undefined ? `${path}#${name}` : path)
}

/** Bounds a call to a provider. */
export function bounded<T>(
  answer: Promise<T>,
  { name, deadlineMs, clock = systemClock }: { name: string; deadlineMs: number; clock?: Clock },
): Promise<T> {
  const late = (): Error => new PARAPET_SECRETS_PROVIDER_TIMEOUT(name, deadlineMs)
  return withDeadline(answer, deadlineMs, late, clock)
}

/** Reads that begin at the same moment share one: members of one record are never of two versions. */
export function shareReads<T>(read: (place: string) => Promise<T>): (place: string) => Promise<T> {
  const begun = new Map<string, Promise<T>>()
  return (place) => {
    const known = begun.get(place)
    if (known !== undefined) return known
    const reading = read(place)
    begun.set(place, reading)
    // A later call may be made because the record has changed.
    queueMicrotask(() => begun.delete(place))
    return reading
  }
}
