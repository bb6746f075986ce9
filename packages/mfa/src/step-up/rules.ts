/** Step-up rules: what a route or a role requires of a session, compiled at boot. */
import { inspect } from 'node:util'
import { PARAPET_MFA_INVALID_RULE } from '../errors.ts'
import type { SessionProof } from '../proofs/session-proofs.ts'

/** What a route requires of the session. */
export interface MfaRequirement {
  /** How old the proof may be, in whole seconds from 1. @default the option `proofMaxAgeSeconds` */
  readonly maxAgeSeconds?: number | undefined
  /** Whether only a passkey is accepted. @default false */
  readonly phishingResistant?: boolean | undefined
  /**
   * Whether a remembered device is accepted instead.
   * @default true, unless `maxAgeSeconds` or `phishingResistant` is set
   */
  readonly rememberedDevice?: boolean | undefined
  /** Whether a user who has no factor passes; who has one must show it. @default false */
  readonly ifEnrolled?: boolean | undefined
}

/**
 * The rule of a route. `'required'` requires any factor, `'if-enrolled'` the same of users who have
 * one, and `'open'` none, not even one of a role.
 */
export type MfaRule = 'open' | 'required' | 'if-enrolled' | MfaRequirement

/** What a role requires on every route that is not `'open'`. */
export interface RoleRequirement extends MfaRequirement {
  /** How long a user may work without a factor, from the first request in that role. @default 0 */
  readonly graceSeconds?: number
}

/** A rule as the request path uses it. */
export interface CompiledRule {
  readonly maxAgeMs: number
  readonly phishingResistant: boolean
  readonly rememberedDevice: boolean
  readonly ifEnrolled: boolean
  /** The grace period of a role; `null` for a rule of a route, which has none. */
  readonly graceMs: number | null
}

const KEYS = new Set(['maxAgeSeconds', 'phishingResistant', 'rememberedDevice', 'ifEnrolled'])
const EXPECTED =
  "'open', 'required', 'if-enrolled' or { maxAgeSeconds?: whole seconds from 1, phishingResistant?, rememberedDevice?, ifEnrolled?: boolean }"

/** The rule of every factor that is not older than the options allow. */
export const anyFactor: CompiledRule = Object.freeze(compileRequirement({}, null))
const anyEnrolledFactor = Object.freeze(compileRequirement({ ifEnrolled: true }, null))

/**
 * Compiles the rule of a route.
 *
 * @param route names the route in the error.
 * @returns `null` for `'open'`.
 * @throws PARAPET_MFA_INVALID_RULE
 */
export function compileRule(raw: unknown, route: string): CompiledRule | null {
  if (raw === 'open') return null
  if (raw === 'required') return anyFactor
  if (raw === 'if-enrolled') return anyEnrolledFactor
  if (isRequirement(raw)) return compileRequirement(raw, null)
  throw new PARAPET_MFA_INVALID_RULE(route, EXPECTED, inspect(raw, { depth: 1 }))
}

/** Compiles the requirement of every role. */
export function compileRoleRules(
  roles: Readonly<Record<string, RoleRequirement>>,
): ReadonlyMap<string, CompiledRule> {
  return new Map(
    Object.entries(roles).map(([role, { graceSeconds = 0, ...requirement }]) => [
      role,
      compileRequirement(requirement, graceSeconds * 1000),
    ]),
  )
}

/** Compiles a requirement. @param graceMs `null` for a route. */
export function compileRequirement(
  requirement: MfaRequirement,
  graceMs: number | null,
): CompiledRule {
  const { maxAgeSeconds, phishingResistant = false, ifEnrolled = false } = requirement
  const plain = maxAgeSeconds === undefined && !phishingResistant
  return {
    maxAgeMs: maxAgeSeconds === undefined ? Infinity : maxAgeSeconds * 1000,
    phishingResistant,
    rememberedDevice: requirement.rememberedDevice ?? plain,
    ifEnrolled,
    // It asks nothing of users without a factor, so it must not end the grace period of a role.
    graceMs: ifEnrolled ? Infinity : graceMs,
  }
}

function isRequirement(raw: unknown): raw is MfaRequirement {
  if (typeof raw !== 'object' || raw === null || Array.isArray(raw)) return false
  const { maxAgeSeconds, phishingResistant, rememberedDevice, ifEnrolled } = raw as MfaRequirement
  return (
    Object.keys(raw).every((key) => KEYS.has(key)) &&
    (maxAgeSeconds === undefined || (Number.isSafeInteger(maxAgeSeconds) && maxAgeSeconds > 0)) &&
    [phishingResistant, rememberedDevice, ifEnrolled].every((flag) =>
      ['undefined', 'boolean'].includes(typeof flag),
    )
  )
}

/** The strictest combination of several rules; `null` if there are none. */
export function joinRules(rules: readonly CompiledRule[]): CompiledRule | null {
  const [first, ...rest] = rules
  if (first === undefined) return null
  return rest.reduce(
    (a, b) => ({
      maxAgeMs: Math.min(a.maxAgeMs, b.maxAgeMs),
      phishingResistant: a.phishingResistant || b.phishingResistant,
      rememberedDevice: a.rememberedDevice && b.rememberedDevice,
      ifEnrolled: a.ifEnrolled && b.ifEnrolled,
      graceMs: a.graceMs === null || b.graceMs === null ? null : Math.min(a.graceMs, b.graceMs),
    }),
    first,
  )
}

/** Whether one proof of a session meets a rule. */
export function satisfies(proof: SessionProof, rule: CompiledRule, now: number): boolean {
  // A proof further in the future than the rule allows in the past comes from a wrong clock, so its
  // age is unknown.
  if (Math.abs(now - proof.provedAt) > rule.maxAgeMs) return false
  if (proof.method === 'device') return rule.rememberedDevice
  return proof.aal >= 2 && (proof.phishingResistant || !rule.phishingResistant)
}
