/** Makes an incident from findings. Pure. */
import type { KnownFinding } from './finding.ts'
import { rankOf, type Incident, type Link, type NewEntry, type Sighting } from './incident.ts'

/** What opening needs besides the finding. */
export interface Opening {
  readonly id: string
  readonly now: number
  readonly respondBy: number
}

const MAX_SIGHTINGS = 100
/** The latest stay although they were seen less often: else a crowd of loud addresses would hide a new one. */
const LATEST_SIGHTINGS = 20
const MAX_LINKS = 100
const SECOND_FINDING = 2

/** Opens an incident with its first finding. */
export function openIncident(finding: KnownFinding, { id, now, respondBy }: Opening): Incident {
  const { type, title, severity, at, fingerprint } = finding
  const empty: Incident = {
    id,
    type,
    title,
    severity,
    respondBy,
    phase: 'detection',
    resolution: null,
    openedAt: now,
    firstSeenAt: at,
    lastFindingAt: at,
    acknowledgedAt: null,
    acknowledgedBy: null,
    containedAt: null,
    recoveredAt: null,
    closedAt: null,
    escalations: 0,
    assignee: null,
    findings: 0,
    records: 0,
    principals: [],
    addresses: [],
    links: [],
    fingerprints: [fingerprint],
    mergedInto: null,
    needsPerson: 0,
    responded: [],
    version: 1,
  }
  return addFinding(empty, finding)
}

/** Adds a finding. */
export function addFinding(incident: Incident, finding: KnownFinding): Incident {
  const { principalId, address, at, records, links, severity } = finding
  const isWorse = rankOf(severity) > rankOf(incident.severity)
  return {
    ...incident,
    severity: isWorse ? severity : incident.severity,
    findings: incident.findings + 1,
    records: incident.records + records,
    firstSeenAt: Math.min(incident.firstSeenAt, at),
    lastFindingAt: Math.max(incident.lastFindingAt, at),
    principals: see(incident.principals, principalId, null),
    addresses: see(incident.addresses, address, finding.attempts),
    links: links.length === 0 ? incident.links : addLinks(incident.links, links),
  }
}

/** Counts a sighting; where the reporter counts itself, its number is taken. */
function see(
  known: readonly Sighting[],
  id: string | null,
  attempts: number | null,
): readonly Sighting[] {
  if (id === null) return known
  const before = known.find((each) => each.id === id)
  if (before === undefined) return addSightings(known, [{ id, count: attempts ?? 1 }])
  const count = attempts === null ? before.count + 1 : Math.max(attempts, before.count)
  return [...known.filter((each) => each.id !== id), { id, count }]
}

/** Adds sightings of another incident, or new ones. */
export function addSightings(
  known: readonly Sighting[],
  more: readonly Sighting[],
): readonly Sighting[] {
  const counts = new Map(known.map(({ id, count }) => [id, count]))
  for (const { id, count } of more) counts.set(id, (counts.get(id) ?? 0) + count)
  const all = [...counts].map(([id, count]) => ({ id, count }))
  if (all.length <= MAX_SIGHTINGS) return all
  const often = all.slice(0, -LATEST_SIGHTINGS).toSorted((a, b) => b.count - a.count)
  return [...often.slice(0, MAX_SIGHTINGS - LATEST_SIGHTINGS), ...all.slice(-LATEST_SIGHTINGS)]
}

/** Adds links that are not known yet. */
export function addLinks(known: readonly Link[], more: readonly Link[]): readonly Link[] {
  const isNew = ({ kind, id }: Link) => !known.some((each) => each.kind === kind && each.id === id)
  return [...known, ...more.filter(isNew)].slice(0, MAX_LINKS)
}

/** The entry of a first finding, or of findings that were added at once. */
export function entryOfFindings(
  before: Incident | null,
  after: Incident,
  last: KnownFinding,
  now: number,
): NewEntry | null {
  const { id: incidentId, findings } = after
  if (before === null) {
    const text = `Opened: ${after.title}`
    return { incidentId, at: now, kind: 'opened', by: last.by, text, details: detailsOf(last) }
  }
  // Powers of two, so that a flood of findings is no flood of entries.
  const isNoted = findings <= SECOND_FINDING || magnitude(findings) > magnitude(before.findings)
  if (!isNoted) return null
  const text = `${findings} findings so far`
  return { incidentId, at: now, kind: 'finding', by: last.by, text, details: detailsOf(last) }
}

function magnitude(count: number): number {
  return Math.floor(Math.log2(Math.max(count, 1)))
}

function detailsOf({ type, address, principalId, severity }: KnownFinding) {
  return { type, severity, address, principalId }
}
