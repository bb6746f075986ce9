/** Automated responses: which action answers which incident, and for whom. Pure. */
import type { KnownFinding } from '../incidents/finding.ts'
import { rankOf, type Incident, type IncidentSeverity } from '../incidents/incident.ts'

/** One line of the table of responses. */
export interface ResponseRule {
  /** Lower case, digits and `-`; the response is recorded under it. */
  readonly name: string
  /** The type of the incident; `*`: any. */
  readonly type: string
  readonly minSeverity?: IncidentSeverity | undefined
  /** Attempts of the address or principal, or findings of the incident. @default 1 */
  readonly minAttempts?: number | undefined
  /** The name of an action. */
  readonly do: string
  /** What it is done to: each address, each principal, or once for the incident. */
  readonly per: 'address' | 'principal' | 'incident'
  /** Passed to the action. */
  readonly ttlMs?: number | undefined
  /** More parameters of the action, for instance `{ factor: 0.1 }`. */
  readonly with?: Readonly<Record<string, string | number | boolean>> | undefined
}

const HOUR_MS = 3_600_000
const DAY_MS = 86_400_000

/** The table that is used unless the option `responses` replaces it. `FULL_LOCKDOWN` is left to people. */
export const builtInResponses: readonly ResponseRule[] = Object.freeze([
  // More than ten attempts.
  {
    name: 'block-guessers',
    type: 'brute_force',
    minAttempts: 11,
    do: 'BLOCK_IP',
    per: 'address',
    ttlMs: HOUR_MS,
  },
  {
    name: 'ask-guessers',
    type: 'brute_force',
    do: 'ENABLE_CAPTCHA',
    per: 'address',
    ttlMs: HOUR_MS,
  },
  { name: 'block-injectors', type: 'injection', do: 'BLOCK_IP', per: 'address', ttlMs: DAY_MS },
  {
    name: 'end-stolen-sessions',
    type: 'account_takeover',
    do: 'REVOKE_SESSIONS',
    per: 'principal',
  },
  {
    name: 'prove-ownership',
    type: 'account_takeover',
    do: 'STEP_UP',
    per: 'principal',
    ttlMs: DAY_MS,
  },
  {
    name: 'renew-password',
    type: 'account_takeover',
    minSeverity: 'critical',
    do: 'REQUIRE_PASSWORD_RESET',
    per: 'principal',
  },
  {
    name: 'slow-readers',
    type: 'data_exfiltration',
    do: 'RATE_LIMIT',
    per: 'principal',
    ttlMs: HOUR_MS,
    with: { factor: 0.1 },
  },
  {
    name: 'slow-scrapers',
    type: 'data_exfiltration',
    do: 'RATE_LIMIT',
    per: 'address',
    ttlMs: HOUR_MS,
    with: { factor: 0.1 },
  },
  {
    name: 'slow-flood',
    type: 'denial_of_service',
    do: 'RATE_LIMIT',
    per: 'address',
    ttlMs: HOUR_MS,
    with: { factor: 0.1 },
  },
  {
    name: 'ask-flood',
    type: 'denial_of_service',
    do: 'ENABLE_CAPTCHA',
    per: 'address',
    ttlMs: HOUR_MS,
  },
  { name: 'disable-risen', type: 'privilege_escalation', do: 'DISABLE_ACCOUNT', per: 'principal' },
  { name: 'end-key-sessions', type: 'api_key_compromise', do: 'REVOKE_SESSIONS', per: 'principal' },
  {
    name: 'replace-leaked',
    type: 'leaked_secret',
    minSeverity: 'critical',
    do: 'ROTATE_KEYS',
    per: 'incident',
  },
  {
    name: 'freeze-log',
    type: 'tampered_audit_log',
    minSeverity: 'critical',
    do: 'READ_ONLY',
    per: 'incident',
    ttlMs: HOUR_MS,
  },
] satisfies readonly ResponseRule[])

/** A response that is to be given. */
export interface DueResponse {
  readonly rule: ResponseRule
  /** `address:…`, `principal:…` or `incident`. */
  readonly target: string
  /** The parameters of the action. */
  readonly with: Readonly<Record<string, string | number | boolean>>
}

/** What a finding makes due, once it is part of the incident. */
export function dueResponses(
  rules: readonly ResponseRule[],
  incident: Incident,
  { address, principalId }: Pick<KnownFinding, 'address' | 'principalId'>,
): readonly DueResponse[] {
  return rules.flatMap((rule) => {
    const { type, minSeverity = 'low', minAttempts = 1, per } = rule
    if (type !== '*' && type !== incident.type) return []
    if (rankOf(incident.severity) < rankOf(minSeverity)) return []
    const id = per === 'address' ? address : per === 'principal' ? principalId : incident.id
    if (id === null) return []
    const seen = per === 'address' ? incident.addresses : incident.principals
    const attempts =
      per === 'incident' ? incident.findings : (seen.find((each) => each.id === id)?.count ?? 0)
    if (attempts < minAttempts) return []
    const target = per === 'incident' ? 'incident' : `${per}:${id}`
    const subject =
      per === 'address' ? { address: id } : per === 'principal' ? { principalId: id } : {}
    const ttl = rule.ttlMs === undefined ? {} : { ttlMs: rule.ttlMs }
    return [{ rule, target, with: { ...rule.with, ...subject, ...ttl } }]
  })
}
