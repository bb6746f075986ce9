/** The two policies that are sent: the enforced one and the one that is only reported on. */
import { CSP, CSP_REPORT_ONLY, type CspDirectives } from './directives.ts'

/** The name of the group of endpoints that receives reports. */
export const REPORT_GROUP = 'default'

/** The settings that decide which policies are sent. */
export interface CspSettings {
  readonly csp: CspDirectives
  /** A second policy that browsers only report on. `null`: there is none. */
  readonly cspReportOnly: CspDirectives | null
  /** The reason why `csp` is not enforced yet. `null`: it is enforced. */
  readonly reportOnly: string | null
  /** Reasons by the name of each header or directive that is left out. */
  readonly relax: Readonly<Record<string, string>>
}

/** The policies that are sent. `null`: that header is not sent. */
export interface EffectivePolicies {
  readonly enforced: CspDirectives | null
  readonly reported: CspDirectives | null
}

/**
 * Removes relaxed directives and adds the report URI.
 *
 * @param reportPath the path that receives reports. `null`: browsers send none.
 */
export function effectivePolicies(
  settings: CspSettings,
  reportPath: string | null,
): EffectivePolicies {
  const { csp, cspReportOnly, reportOnly, relax } = settings
  const finish = (directives: CspDirectives | null) =>
    directives === null ? null : addReportUri(withoutRelaxed(directives, relax), reportPath)
  const enforced = reportOnly === null ? csp : null
  const reported = reportOnly === null ? cspReportOnly : csp
  return {
    enforced: CSP in relax ? null : finish(enforced),
    reported: CSP_REPORT_ONLY in relax ? null : withoutEnforcedOnly(finish(reported)),
  }
}

/** Browsers log an error for these directives in a report-only policy. */
function withoutEnforcedOnly(directives: CspDirectives | null): CspDirectives | null {
  if (directives === null) return null
  const { sandbox: _sandbox, 'upgrade-insecure-requests': _upgrade, ...rest } = directives
  return rest
}

function withoutRelaxed(directives: CspDirectives, relax: CspSettings['relax']): CspDirectives {
  return Object.fromEntries(Object.entries(directives).filter(([name]) => !(name in relax)))
}

/**
 * Only `report-uri` is added. A browser that supports `report-to` ignores `report-uri` when both are
 * present; it then sends reports late, in batches, and never over http.
 */
function addReportUri(directives: CspDirectives, reportPath: string | null): CspDirectives {
  if (reportPath === null || 'report-to' in directives) return directives
  return { ...directives, 'report-uri': directives['report-uri'] ?? [reportPath] }
}
