/** The gate: which routes are closed, and who passes. It knows nothing of HTTP. */
import type { Principal } from '@parapet/kit'
import { PARAPET_TEMPLATE_INVALID_RULE } from './errors.ts'

/** What a route says of itself. `'open'` is the default, said aloud. */
export type TemplateRule = 'open' | 'closed'

/** A rule made ready for the request path: the roles that pass, or `null` where everybody does. */
export type CompiledRule = { readonly passingRoles: ReadonlySet<string> | null }

/** The answer of {@link decideRule}. */
export type TemplateVerdict =
  | { readonly passes: true; readonly role: string | null }
  | { readonly passes: false; readonly reason: 'closed' | 'missed' }

const OPEN: TemplateVerdict = Object.freeze({ passes: true, role: null })
const CLOSED: TemplateVerdict = Object.freeze({ passes: false, reason: 'closed' })
const MISSED: TemplateVerdict = Object.freeze({ passes: false, reason: 'missed' })

/**
 * Makes a rule ready, once, at boot.
 *
 * @param route method and pattern, for the message.
 * @throws PARAPET_TEMPLATE_INVALID_RULE the rule is neither `'open'` nor `'closed'`.
 */
export function compileRule(
  raw: unknown,
  route: string,
  allowedRoles: readonly string[],
): CompiledRule {
  if (raw === 'open') return { passingRoles: null }
  if (raw === 'closed') return { passingRoles: new Set(allowedRoles) }
  throw new PARAPET_TEMPLATE_INVALID_RULE(route, "'open' or 'closed'")
}

/**
 * Says whether a caller passes.
 *
 * @param rule `undefined`: the route has a rule that nobody compiled, so nobody passes.
 */
export function decideRule(
  rule: CompiledRule | undefined,
  principal: Principal | null,
): TemplateVerdict {
  if (rule === undefined) return MISSED
  const { passingRoles } = rule
  if (passingRoles === null) return OPEN
  const role = principal?.roles.find((name) => passingRoles.has(name))
  return role === undefined ? CLOSED : { passes: true, role }
}
