/** What a containment is: one measure against one target, until a time, for a reason. */

/** `lockdown` and `read-only` have the target `service`. */
export type ContainmentKind =
  | 'block'
  | 'challenge'
  | 'tighten'
  | 'step-up'
  | 'revoke'
  | 'lockdown'
  | 'read-only'

/** Whom it is for: `address:192.0.2.0/24`, `principal:u-1`, `service`. */
export type Target =
  | { readonly type: 'address'; readonly value: string }
  | { readonly type: 'principal'; readonly value: string }
  /** A keyed hash of a login name: what its logins have to prove. */
  | { readonly type: 'account'; readonly value: string }
  | { readonly type: 'service'; readonly value: '' }

/** A measure that is, was or (dry run) would be in force. */
export interface Containment {
  /** UUIDv7. */
  readonly id: string
  readonly kind: ContainmentKind
  readonly target: Target
  /** Milliseconds since the Unix epoch. */
  readonly createdAt: number
  readonly until: number
  readonly reason: string
  /** The operator, or `null`: the guard itself. */
  readonly by: string | null
  /** The anomaly that caused it. */
  readonly anomalyId?: string
  /** How often the target was contained before, less what has decayed. */
  readonly level: number
  /** The share of its limit that a tightened client keeps. */
  readonly factor?: number
  /** Not claimed yet: a containment that another instance has claimed replaces it. Never shared. */
  readonly isProvisional?: true
}

/** The identity of a containment: one target has one containment of each kind. */
export function slotOf(kind: ContainmentKind, target: Target): string {
  return `${kind} ${formatTarget(target)}`
}

/** `address:192.0.2.7`, `principal:u-1`, `service`. */
export function formatTarget({ type, value }: Target): string {
  return type === 'service' ? 'service' : `${type}:${value}`
}

const KINDS = ['block', 'challenge', 'tighten', 'step-up', 'revoke', 'lockdown', 'read-only']
const MAX_TEXT = 4096

/**
 * Reads a containment as the store returns it. Write access to the store can contain a client, but must
 * not be able to break the process.
 *
 * @returns `undefined` where the text is no containment.
 */
export function parseContainment(text: string): Containment | undefined {
  if (text.length > MAX_TEXT) return undefined
  try {
    const value = JSON.parse(text) as Record<string, unknown>
    const { id, kind, target, createdAt, until, reason, by, anomalyId, level, factor } = value
    const { type, value: name } = target as Record<string, unknown>
    const isValid =
      [id, reason, name].every((each) => typeof each === 'string') &&
      [createdAt, until, level].every((each) => Number.isSafeInteger(each)) &&
      // The latest time that a `Date` holds.
      Math.abs(until as number) <= 8.64e15 &&
      (by === null || typeof by === 'string') &&
      KINDS.includes(kind as string) &&
      ['address', 'principal', 'account', 'service'].includes(type as string)
    if (!isValid) return undefined
    return Object.freeze({
      id,
      kind,
      target: Object.freeze({ type, value: name }),
      createdAt,
      until,
      reason,
      by,
      level,
      ...(typeof anomalyId === 'string' ? { anomalyId } : undefined),
      ...(typeof factor === 'number' && factor > 0 && factor < 1 ? { factor } : undefined),
    }) as Containment
  } catch {
    return undefined
  }
}
