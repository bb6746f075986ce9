/** The lint of one policy. */
import { effectivePolicies } from '../csp/effective-policies.ts'
import type { Policy } from '../policy/policy.ts'
import { lintCsp, lintExternalScripts, lintReportGroup } from './csp.ts'
import { lintHeaders } from './headers.ts'
import type { Finding } from './rules.ts'

/** Finds the rules that a policy breaks. @param where the option or the route, for messages. @param reportPath `null`: the app receives no reports. */
export function lintPolicy(policy: Policy, where: string, reportPath: string | null): Finding[] {
  const { enforced, reported } = effectivePolicies(policy, null)
  const found = [
    ...lintHeaders(policy, enforced),
    ...(enforced === null ? [] : lintCsp(enforced)),
    ...(enforced === null ? [] : lintExternalScripts(enforced, policy.externalScripts)),
    ...lintReportGroup([enforced, reported], reportPath),
  ]
  const seen = new Set<string>()
  return found
    .map(([rule, text]) => ({ rule, where, found: text }))
    .filter(({ rule, found: text }) => !seen.has(`${rule} ${text}`) && seen.add(`${rule} ${text}`))
}
