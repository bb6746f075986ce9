/** The texts of lint rules, before they are joined into one table. */

/** Why a rule exists, and how to fix a finding; by the id of the rule. */
export type RuleTexts = Readonly<Record<string, readonly [reason: string, fix: string]>>
