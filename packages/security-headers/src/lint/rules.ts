/** The table of all lint rules. */
import { appRules } from './app-rules.ts'
import { cspRules } from './csp-rules.ts'
import { headerRules } from './header-rules.ts'
import type { RuleTexts } from './rule-texts.ts'

/** A rule, as `app.securityHeaders.rules` lists it. */
export interface Rule {
  /** What can go wrong when the rule is broken. */
  readonly reason: string
  /** What to change. */
  readonly fix: string
}

const texts = { ...cspRules, ...headerRules, ...appRules }

/** The id of a rule. */
export type RuleId = keyof typeof texts

/** Every rule by its id. */
export const rules: Readonly<Record<RuleId, Rule>> = Object.freeze(
  Object.fromEntries(
    Object.entries<RuleTexts[string]>(texts).map(([id, [reason, fix]]) => [
      id,
      Object.freeze({ reason, fix }),
    ]),
  ) as Record<RuleId, Rule>,
)

/** One broken rule. */
export interface Finding {
  readonly rule: RuleId
  /** The option or the route that breaks it. */
  readonly where: string
  /** The setting or value that breaks it. */
  readonly found: string
}

/** Formats a finding as one line of an error message. */
export function describeFinding({ rule, where, found }: Finding): string {
  const { reason, fix } = rules[rule]
  return `  ${rule} at ${where}: ${found}: ${reason}. Fix: ${fix}.`
}
