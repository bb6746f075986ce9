/** Known vulnerabilities of the dependencies. */

/** A vulnerability that is accepted for a time. */
export interface Acceptance {
  /** `GHSA-…` */
  readonly id: string
  /** The last day, `2027-01-31`. */
  readonly until: string
  readonly reason: string
}

/** Accepted vulnerabilities. Each needs a reason and a day; after it, the check fails again. */
export const ACCEPTED: readonly Acceptance[] = []

/** What `pnpm audit --json` prints. */
export interface AuditReport {
  readonly advisories?: Readonly<
    Record<
      string,
      {
        readonly module_name: string
        readonly severity: string
        readonly title: string
        readonly github_advisory_id?: string
        readonly url?: string
      }
    >
  >
}

const MAX_DAYS = 90
const DAY_MS = 86_400_000

/** Lists vulnerabilities that nobody has accepted, and acceptances that are void. */
export function findAdvisoryFaults(
  { advisories = {} }: AuditReport,
  accepted: readonly Acceptance[],
  nowMs: number,
): string[] {
  const valid = new Set<string>()
  const faults: string[] = []
  for (const { id, until, reason } of accepted) {
    const end = Date.parse(`${until}T23:59:59Z`)
    if (Number.isNaN(end) || reason.length < 20) faults.push(`${id}: needs a day and a reason`)
    else if (end < nowMs) faults.push(`${id}: was accepted until ${until}`)
    else if (end > nowMs + MAX_DAYS * DAY_MS)
      faults.push(`${id}: is accepted for more than ${MAX_DAYS} days`)
    else valid.add(id)
  }
  for (const [
    key,
    { module_name: name, severity, title, github_advisory_id: id = key },
  ] of Object.entries(advisories)) {
    if (!valid.has(id)) faults.push(`${id}: ${severity}: ${name}: ${title}`)
  }
  return faults
}
