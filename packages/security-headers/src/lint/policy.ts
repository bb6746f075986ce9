/** The lint of one policy. */
import { effectivePolicies } from '../csp/effective-policies.ts'
import type { Policy } from '../policy/policy.ts'
import { lintCsp } from './csp.ts'
import { lintHeaders } from './headers.ts'
import type { Finding } from './rules.ts'

/** Finds the rules that a policy breaks. @param where the option or the route, for messages. */
export function lintPolicy(policy: Policy, where: string): Finding[] {
  const { enforced } = effectivePolicies(policy, null)
  const found = [...lintHeaders(policy, enforced), ...(enforced === null ? [] : lintCsp(enforced))]
  const seen = new Set<string>()
  return found
    .map(([rule, text]) => ({ rule, where, found: text }))
    .filter(({ rule, found: text }) => !seen.has(`${rule} ${text}`) && seen.add(`${rule} ${text}`))
}
