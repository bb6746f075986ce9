/** How a refused client learns what to show. @see RFC 9470, section 3 */
import type { CompiledRule } from './rules.ts'

/** The authentication context class that a rule requires. @see OpenID EAP ACR Values 1.0 */
export function acrOf(rule: CompiledRule): string {
  return rule.phishingResistant ? 'phr' : 'aal2'
}

/** The `WWW-Authenticate` header for a rule that the session does not meet. */
export function wwwAuthenticate(rule: CompiledRule): string {
  const age = rule.maxAgeMs === Infinity ? '' : `, max_age="${rule.maxAgeMs / 1000}"`
  return (
    'Bearer error="insufficient_user_authentication", ' +
    'error_description="A stronger or more recent authentication is needed", ' +
    `acr_values="${acrOf(rule)}"${age}`
  )
}
