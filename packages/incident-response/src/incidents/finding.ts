/** A finding: something that looks like an attack. Findings with one fingerprint make one incident. */
import { PARAPET_INCIDENT_RESPONSE_INVALID_ARGUMENT } from '../errors.ts'
import { severities, type IncidentSeverity, type Link } from './incident.ts'
import { readLink } from './link.ts'

/** What `app.incidents.report` takes. */
export interface Finding {
  /** The kind of attack: `brute_force`. Lower case, digits, `_`; at most 64 characters. */
  readonly type: string
  /** @default 'medium' */
  readonly severity?: IncidentSeverity
  /** One sentence, at most 200 characters. @default made from the type */
  readonly title?: string
  /** What findings of one incident have in common, at most 200 characters. @default the type */
  readonly fingerprint?: string
  /** When it happened. @default now */
  readonly at?: number
  readonly principalId?: string
  readonly address?: string
  /** Attempts of this source so far, where the reporter counts them itself. @default one more */
  readonly attempts?: number
  /** Records that are affected. @default 0 */
  readonly records?: number
  readonly links?: readonly Link[]
  /** Who reports: a person, or a rule. @default null */
  readonly by?: string | null
}

/** A finding with every default. */
export interface KnownFinding extends Required<
  Omit<Finding, 'principalId' | 'address' | 'attempts'>
> {
  readonly principalId: string | null
  readonly address: string | null
  readonly attempts: number | null
}

/** What a type must look like. */
export const TYPE = /^[a-z][a-z0-9_]{0,63}$/
const MAX_TEXT = 200
const MAX_LINKS = 20
/** What a `Date` can be: reports show it. */
const MAX_TIME = 8_640_000_000_000_000

/** Checks a finding and fills in the defaults. @throws PARAPET_INCIDENT_RESPONSE_INVALID_ARGUMENT */
export function readFinding(finding: Finding, now: number): KnownFinding {
  if (typeof finding !== 'object' || (finding as unknown) === null) {
    refuse('"finding"', 'must be an object')
  }
  const { type, severity = 'medium', at = now, attempts = null, records = 0 } = finding
  if (typeof type !== 'string' || !TYPE.test(type)) {
    refuse(
      '"type"',
      'must have 1 to 64 characters of "a-z", "0-9" and "_", and begin with a letter',
    )
  }
  if (!severities.includes(severity))
    refuse('"severity"', `must be one of ${severities.join(', ')}`)
  for (const [name, value] of Object.entries({ at, records, attempts: attempts ?? 0 })) {
    if (!Number.isSafeInteger(value) || value < 0)
      refuse(`"${name}"`, 'must be an integer from 0 on')
  }
  if (at > MAX_TIME) refuse('"at"', `must be at most ${MAX_TIME} (milliseconds)`)
  const title = textOf('title', finding.title) ?? titleOf(type)
  const fingerprint = textOf('fingerprint', finding.fingerprint) ?? type
  const principalId = textOf('principalId', finding.principalId) ?? null
  const address = textOf('address', finding.address) ?? null
  const links: readonly Link[] = finding.links ?? []
  if (!isList(links) || links.length > MAX_LINKS) {
    refuse('"links"', `must be a list of at most ${MAX_LINKS}`)
  }
  const by = textOf('by', finding.by ?? undefined) ?? null
  return Object.freeze({
    type,
    severity,
    title,
    fingerprint,
    at,
    principalId,
    address,
    attempts,
    records,
    by,
    links: links.map(readLink),
  })
}

/** `Array.isArray` would forget the type of the items. */
function isList(value: unknown): boolean {
  return Array.isArray(value)
}

/** PostgreSQL stores no U+0000, and a lone surrogate is no text. */
function textOf(name: string, value: string | undefined): string | undefined {
  if (value === undefined) return undefined
  if (typeof value !== 'string' || value === '' || !value.isWellFormed() || value.includes('\0')) {
    refuse(`"${name}"`, 'must be a non-empty, well-formed text')
  }
  return value.slice(0, MAX_TEXT).toWellFormed()
}

/** `data_breach` → `Data breach` */
function titleOf(type: string): string {
  const words = type.replaceAll('_', ' ')
  return words.charAt(0).toUpperCase() + words.slice(1)
}

function refuse(what: string, problem: string): never {
  throw new PARAPET_INCIDENT_RESPONSE_INVALID_ARGUMENT(what, problem)
}
