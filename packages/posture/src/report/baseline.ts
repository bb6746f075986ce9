/** The baseline file: findings that are known, and manual lines that a person has confirmed. */
import { readFile, rename, writeFile } from 'node:fs/promises'
import { findLine } from '../checklist/checklist.ts'
import type { LineResult } from '../checks/judge.ts'
import { PARAPET_POSTURE_INVALID_BASELINE } from '../errors.ts'

/** A finding that does not fail the check any more. */
interface KnownFinding {
  readonly line: string
  readonly where: string
  /** Why it is accepted; kept when the file is updated. */
  readonly reason?: string
}

/** A manual line that somebody has examined. */
interface Confirmation {
  readonly by: string
  readonly note: string
  /** The day after which the line is manual again: `2027-01-31`. */
  readonly until: string
}

/** The file. */
export interface Baseline {
  readonly version: 1
  /** By fingerprint. */
  readonly known: Readonly<Record<string, KnownFinding>>
  /** By the id of the line. */
  readonly confirmed: Readonly<Record<string, Confirmation>>
}

const EMPTY: Baseline = { version: 1, known: {}, confirmed: {} }
const MAX_BYTES = 8 * 1024 * 1024

/** Reads a file. @returns an empty baseline where there is no file. @throws PARAPET_POSTURE_INVALID_BASELINE */
export async function readBaseline(path: string): Promise<Baseline> {
  let text: string
  try {
    text = await readFile(path, 'utf8')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return EMPTY
    throw new PARAPET_POSTURE_INVALID_BASELINE(path, (error as Error).message)
  }
  const problem = text.length > MAX_BYTES ? `it is larger than ${MAX_BYTES} bytes` : undefined
  if (problem !== undefined) throw new PARAPET_POSTURE_INVALID_BASELINE(path, problem)
  return parseBaseline(path, text)
}

function parseBaseline(path: string, text: string): Baseline {
  const refuse = (reason: string): never => {
    throw new PARAPET_POSTURE_INVALID_BASELINE(path, reason)
  }
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch (error) {
    return refuse((error as Error).message)
  }
  if (!isRecord(value) || value['version'] !== 1) return refuse('"version" must be 1')
  const { known = {}, confirmed = {} } = value
  if (!isRecord(known) || !isRecord(confirmed))
    return refuse('"known" and "confirmed" must be objects')
  for (const [fingerprint, finding] of Object.entries(known)) {
    if (!/^[0-9a-f]{16}$/.test(fingerprint) || !isRecord(finding))
      return refuse(`"known.${fingerprint}" is no finding`)
  }
  for (const [id, confirmation] of Object.entries(confirmed)) {
    if (findLine(id) === undefined)
      return refuse(`"confirmed.${id}" names no line of the checklist`)
    const day = isRecord(confirmation) ? confirmation['until'] : undefined
    const isDay =
      typeof day === 'string' && /^\d{4}-\d\d-\d\d$/.test(day) && !Number.isNaN(Date.parse(day))
    if (!isDay) return refuse(`"confirmed.${id}.until" must be a day such as "2027-01-31"`)
    const { by, note } = confirmation as Record<string, unknown>
    if (typeof by !== 'string' || typeof note !== 'string')
      return refuse(`"confirmed.${id}" needs "by" and "note"`)
  }
  return value as unknown as Baseline
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/**
 * Marks known findings, and turns confirmed manual lines into passes until their day. A confirmation
 * never hides a failure.
 */
export function applyBaseline(
  lines: readonly LineResult[],
  { known, confirmed }: Baseline,
  now: number,
): LineResult[] {
  return lines.map((line) => {
    const findings = line.findings.map((finding) => ({
      ...finding,
      isKnown: Object.hasOwn(known, finding.fingerprint),
    }))
    const confirmation = Object.hasOwn(confirmed, line.id) ? confirmed[line.id] : undefined
    if (confirmation === undefined || line.status !== 'manual') return { ...line, findings }
    const end = Date.parse(confirmation.until) + 86_400_000
    if (end <= now)
      return {
        ...line,
        findings,
        evidence: `the confirmation ended on ${confirmation.until}: ${line.evidence}`,
      }
    const evidence = `confirmed by ${confirmation.by} until ${confirmation.until}: ${confirmation.note}`
    return { ...line, findings, status: 'pass', evidence }
  })
}

/** The baseline after a check: its findings become known, fixed ones are dropped, reasons stay. */
export function updateBaseline(
  lines: readonly LineResult[],
  { known, confirmed }: Baseline,
): Baseline {
  const entries = lines.flatMap(({ id, findings }) =>
    findings.map(({ fingerprint, where }) => {
      const reason = known[fingerprint]?.reason
      return [
        fingerprint,
        { line: id, where, ...(reason === undefined ? {} : { reason }) },
      ] as const
    }),
  )
  return { version: 1, known: Object.fromEntries(entries), confirmed }
}

/** Writes a file; another process sees the old text or the new one. */
export async function writeBaseline(path: string, baseline: Baseline): Promise<void> {
  const temporary = `${path}.${process.pid}.tmp`
  await writeFile(temporary, `${JSON.stringify(baseline, null, 2)}\n`)
  await rename(temporary, path)
}
