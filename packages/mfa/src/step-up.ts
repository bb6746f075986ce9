/** Step-up: what a route asks of the session, and whether the session has it. It knows nothing of HTTP. */
import { PARAPET_MFA_INVALID_RULE } from './errors.ts'
import type { Mark } from './proof.ts'

/** What a route asks for. */
export interface MfaRequirement {
  /** How old the proof may be. @default as old as `proofMaxAgeSeconds` allows */
  readonly maxAgeSeconds?: number | undefined
  /** Only a passkey will do. @default false */
  readonly phishingResistant?: boolean | undefined
  /**
   * Whether a remembered device is enough.
   * @default true, unless `maxAgeSeconds` or `phishingResistant` asks for more
   */
  readonly rememberedDevice?: boolean | undefined
}

/** What a route says of itself. `'open'` also lifts what a role asks for; `'required'` asks for any factor. */
export type MfaRule = 'open' | 'required' | MfaRequirement

/** What a role asks for on every route that is not `'open'`. */
export interface RoleRequirement extends MfaRequirement {
  /** How long a user may go without a factor, from the first request in that role. @default 0 */
  readonly graceSeconds?: number
}

/** A requirement made ready for the request path. */
export interface CompiledRule {
  readonly maxAgeMs: number
  readonly phishingResistant: boolean
  readonly rememberedDevice: boolean
  /** `null`: the route itself asks, and there is no grace. */
  readonly graceMs: number | null
}

const KEYS = new Set(['maxAgeSeconds', 'phishingResistant', 'rememberedDevice'])
const EXPECTED =
  "'open', 'required' or { maxAgeSeconds?: whole seconds from 1, phishingResistant?: boolean, rememberedDevice?: boolean }"

/**
 * Makes a route's rule ready, once, at boot. @returns `null` for `'open'`.
 *
 * @throws PARAPET_MFA_INVALID_RULE
 */
export function compileRule(raw: unknown, route: string): CompiledRule | null {
  if (raw === 'open') return null
  if (raw === 'required') return compileRequirement({}, null)
  if (!isRequirement(raw)) throw new PARAPET_MFA_INVALID_RULE(route, EXPECTED)
  return compileRequirement(raw, null)
}

/** Makes a requirement ready. */
export function compileRequirement(
  requirement: MfaRequirement,
  graceMs: number | null,
): CompiledRule {
  const { maxAgeSeconds, phishingResistant = false } = requirement
  const plain = maxAgeSeconds === undefined && !phishingResistant
  return {
    maxAgeMs: maxAgeSeconds === undefined ? Infinity : maxAgeSeconds * 1000,
    phishingResistant,
    rememberedDevice: requirement.rememberedDevice ?? plain,
    graceMs,
  }
}

function isRequirement(raw: unknown): raw is MfaRequirement {
  if (typeof raw !== 'object' || raw === null || Array.isArray(raw)) return false
  const { maxAgeSeconds, phishingResistant, rememberedDevice } = raw as MfaRequirement
  return (
    Object.keys(raw).every((key) => KEYS.has(key)) &&
    (maxAgeSeconds === undefined || (Number.isSafeInteger(maxAgeSeconds) && maxAgeSeconds > 0)) &&
    [phishingResistant, rememberedDevice].every((flag) =>
      ['undefined', 'boolean'].includes(typeof flag),
    )
  )
}

/** Of several rules the strictest in every part; `null` where there is none. */
export function joinRules(rules: readonly CompiledRule[]): CompiledRule | null {
  const [first, ...rest] = rules
  if (first === undefined) return null
  return rest.reduce(
    (a, b) => ({
      maxAgeMs: Math.min(a.maxAgeMs, b.maxAgeMs),
      phishingResistant: a.phishingResistant || b.phishingResistant,
      rememberedDevice: a.rememberedDevice && b.rememberedDevice,
      graceMs: a.graceMs === null || b.graceMs === null ? null : Math.min(a.graceMs, b.graceMs),
    }),
    first,
  )
}

/** Whether one thing a session has shown is what a rule asks for. */
export function satisfies(mark: Mark, rule: CompiledRule, now: number): boolean {
  // As far ahead as it may be old: beyond that a clock was wrong, and nobody knows how old it is.
  if (Math.abs(now - mark.provedAt) > rule.maxAgeMs) return false
  if (mark.method === 'device') return rule.rememberedDevice
  return mark.aal >= 2 && (mark.phishingResistant || !rule.phishingResistant)
}

/** The authentication context class a rule asks for. @see OpenID EAP ACR Values 1.0 */
export function acrOf(rule: CompiledRule): string {
  return rule.phishingResistant ? 'phr' : 'aal2'
}

/** The challenge for a client that has to ask its user. @see RFC 9470, section 3 */
export function challengeOf(rule: CompiledRule): string {
  const age = rule.maxAgeMs === Infinity ? '' : `, max_age="${rule.maxAgeMs / 1000}"`
  return (
    'Bearer error="insufficient_user_authentication", ' +
    'error_description="A stronger or more recent authentication is needed", ' +
    `acr_values="${acrOf(rule)}"${age}`
  )
}
