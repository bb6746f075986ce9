/** The state of the secrets that a keeper keeps, and the groups in which they are read. */
import { splitPath, type ProvidedSecret, type SecretsProvider } from '../providers/provider.ts'
import type { SecretSlot } from './rotating-secret.ts'
import type { RotationHook } from './rotation-hooks.ts'

/** Where a secret is, and how it is kept. */
export interface KeptSecret {
  readonly provider: SecretsProvider
  readonly path: string
  readonly refreshMs: number
  readonly overlapMs: number
  readonly maxStaleMs: number
}

/** What the keeper tells. */
export interface KeeperReports {
  rotated(name: string, version: string, overlapMs: number): void
  rotationFailed(name: string, step: string, error: unknown): void
  expiring(name: string, expiresInMs: number): void
  stale(name: string, ageMs: number, error: unknown): void
  /** The values that may work have changed: the leak guard learns them. */
  inUse(): void
}

/** A kept secret. */
export interface Entry {
  readonly name: string
  readonly kept: KeptSecret
  readonly slot: SecretSlot
  readonly hooks: RotationHook[]
  readonly group: Group
  refreshedAt: number
  /** Of the provider and of hooks, one after another. */
  failures: number
  /** Whether the provider did not answer the last time. */
  isUnanswered: boolean
  warnedFor: string | undefined
  readonly overlaps: Set<() => void>
}

/** Members of one record: they are read at the same time, and become current at the same time. */
export interface Group {
  readonly entries: Entry[]
  /** What failed, by the member. */
  running: Promise<ReadonlyMap<Entry, unknown>> | undefined
  cancelRefresh: () => void
}

/** A value that differs from the current one. */
export interface Change {
  readonly entry: Entry
  readonly provided: ProvidedSecret
}

/** The group of the record that a secret is a member of; made if there is none. */
export function groupOf(groups: Group[], { provider, path }: KeptSecret): Group {
  const { place } = splitPath(path)
  const known = groups.find(({ entries }) =>
    entries.some(({ kept }) => kept.provider === provider && splitPath(kept.path).place === place),
  )
  if (known !== undefined) return known
  const group: Group = { entries: [], running: undefined, cancelRefresh: () => {} }
  groups.push(group)
  return group
}
