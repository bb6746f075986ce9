/** The audit trail, and its verification by what the log publishes. */
import { getBytes, getText, get, Problem, API } from './client.ts'
import type { PlacedRecord } from './types.ts'
import { openCheckpoint, readVerifierKey } from '../verify/signed-note.ts'
import { TileError } from '../verify/tiles.ts'
import {
  verifyRecords,
  verifyTree,
  type Check,
  type RememberedTree,
  type VerifiedLog,
} from '../verify/verify-log.ts'
import { checkCompleteness, checkInclusion, type PageOfRecords } from '../verify/verify-page.ts'

/** The filters of the query. */
export interface AuditFilters {
  readonly action: string
  readonly result: string
  readonly principal: string
  readonly ip: string
  readonly resourceId: string
}

/** A page of records, and what their verification has shown. */
export interface AuditPage {
  readonly entries: readonly PlacedRecord[]
  readonly cursor: string | null
  readonly verification: Verification
}

/** The result of a verification. */
interface Verification {
  readonly checks: readonly Check[]
  /** `undefined`: the checkpoint could not be verified. */
  readonly log: VerifiedLog | undefined
  /** By index; absent: the record is not in the checkpoint yet. */
  readonly records: ReadonlyMap<number, boolean>
  readonly isFiltered: boolean
  /** Why nothing could be verified. */
  readonly error?: string
}

const REMEMBERED = 'parapet-audit-tree'

/** The query as the routes of the log take it. */
function toQuery(filters: AuditFilters): URLSearchParams {
  return new URLSearchParams(Object.entries(filters).filter(([, value]) => value !== ''))
}

/** Reads a page, and verifies every record of it. @param previous the page before it */
export async function readAudit(filters: AuditFilters, previous?: AuditPage): Promise<AuditPage> {
  const query = toQuery(filters)
  const isFiltered = query.size > 0
  query.set('limit', '50')
  const cursor = previous?.cursor ?? null
  if (cursor !== null) query.set('cursor', cursor)
  // Before the page: every entry that was signed by then must be on it.
  const before = await readSize().catch(() => 0)
  const page = await get<{ entries: PlacedRecord[]; cursor: string | null }>(
    `/audit/events?${query}`,
  )
  const below = previous?.entries.at(-1)?.index
  const received = { entries: page.entries, below, isFiltered, hasMore: page.cursor !== null }
  const verification = await verifyPage(received, before).catch((reason: unknown) => {
    const error = reason instanceof Error ? reason.message : String(reason)
    return { checks: [], log: undefined, records: new Map<number, boolean>(), isFiltered, error }
  })
  return { ...page, verification }
}

/** Where an export is. */
export function exportUrl(filters: AuditFilters, format: 'csv' | 'ndjson'): string {
  const query = toQuery(filters)
  query.set('format', format)
  if (format === 'ndjson') query.set('proofs', 'true')
  return `${API}/audit/export?${query}`
}

/** Fetches a tile or a bundle. @throws TileError the log does not have it */
export async function fetchTile(path: string): Promise<Uint8Array<ArrayBuffer>> {
  try {
    return await getBytes(`/audit/tile/${path}`)
  } catch (error) {
    if (error instanceof Problem && error.status === 404) throw new TileError(path, 'is missing')
    throw error
  }
}

async function readSource() {
  const [key, checkpoint] = await Promise.all([getText('/audit/key'), getText('/audit/checkpoint')])
  return { key: key.trim(), checkpoint, fetchTile }
}

/** The size of the log, if its checkpoint is signed. */
async function readSize(): Promise<number> {
  const { key, checkpoint } = await readSource()
  return (await openCheckpoint(checkpoint, await readVerifierKey(key)))?.size ?? 0
}

async function verifyPage(page: PageOfRecords, before: number): Promise<Verification> {
  const { isFiltered } = page
  const { checks, log } = await verifyTree(await readSource(), readRemembered())
  if (log === undefined) return { checks, log, records: new Map(), isFiltered }
  const records = await verifyRecords(log, page.entries)
  const inclusion = checkInclusion(page.entries, records, Date.now())
  const completeness = checkCompleteness(page, log, Math.min(before, log.checkpoint.size))
  const all = [...checks, inclusion, completeness]
  if (all.every(({ passed }) => passed)) remember(log.tree)
  return { checks: all, log, records, isFiltered }
}

/** What this browser has verified before, so that a log that was cut off or rewritten is noticed. */
function readRemembered(): RememberedTree | undefined {
  try {
    const stored = JSON.parse(localStorage.getItem(REMEMBERED) ?? 'null') as RememberedTree | null
    return stored ?? undefined
  } catch {
    return undefined
  }
}

function remember(tree: RememberedTree): void {
  const known = readRemembered()
  // Another tab may have seen more.
  if (known?.key === tree.key && known.size > tree.size) return
  localStorage.setItem(REMEMBERED, JSON.stringify(tree))
}

/** Keeps the key: a person has compared it with the one that the operator published. */
export function trustKey(tree: RememberedTree): void {
  localStorage.setItem(REMEMBERED, JSON.stringify({ ...tree, isTrusted: true }))
}

/** Forgets what this browser has verified, after a new key or a restored backup. */
export function forgetTree(): void {
  localStorage.removeItem(REMEMBERED)
}
