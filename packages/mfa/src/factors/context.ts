/** The ports and settings that all factors share. */
import type { SecurityEventType, SecurityEventTypes, Severity } from '@parapet/kit'
import type { Accounts } from '../account/accounts.ts'
import type { Method } from '../events.ts'
import type { AddressLimits } from '../limits/address-limits.ts'
import type { AttemptLimits } from '../limits/wrong-codes.ts'
import { createProof, type MfaProof, type Shown } from '../proofs/proof.ts'
import type { SessionProofs } from '../proofs/session-proofs.ts'

/** Where an attempt comes from. */
export interface Origin {
  /** The client address; with it attempts are limited per address too. */
  readonly ip?: string | undefined
  /** The methods of the login before. @see RFC 8176 @default none */
  readonly amr?: readonly string[] | undefined
  /** Whether that login has proved two factors by itself, for instance at an identity provider. */
  readonly isLoginTrusted?: boolean | undefined
  /** The session that shows the factor; its earlier proofs move to the session that `assure` names. */
  readonly sessionId?: string | undefined
  /** The Fastify request; security events read the sender from it. */
  readonly request?: unknown
}

/** A message for the owner of an account, to be sent out of band. */
export interface Notice {
  readonly kind: 'enrolled' | 'removed' | 'backup_code_used' | 'locked' | 'reset'
  readonly userId: string
  /** Milliseconds since the Unix epoch. */
  readonly at: number
  readonly factor?: Method
  /** For `enrolled`: the account had no second factor, so a login was enough to enrol it. */
  readonly isFirst?: boolean
  /** The client address. */
  readonly ip?: string
  /** For `reset`: the id of the user who did it. */
  readonly by?: string
}

/** The ports and settings of all factors. */
export interface FactorContext {
  readonly accounts: Accounts
  readonly sessionProofs: SessionProofs
  readonly addressLimits: AddressLimits
  readonly now: () => number
  readonly limits: AttemptLimits
  /** Emits a security event. @param userId the user concerned; `''` if unknown. */
  readonly emit: <T extends MfaEvent>(
    type: T,
    userId: string,
    details: SecurityEventTypes[T],
    origin: Origin,
    severity?: Severity,
  ) => void
  readonly notify: (notice: Omit<Notice, 'at'>) => void
}

type MfaEvent = Extract<SecurityEventType, `mfa.${string}`>

/** Reports that a user has changed a factor. */
export function reportChange(
  context: FactorContext,
  kind: 'enrolled' | 'removed',
  userId: string,
  factor: Method,
  origin: Origin,
  isFirst = false,
): void {
  const { ip } = origin
  context.emit(`mfa.${kind}`, userId, { factor }, origin)
  const source = ip === undefined ? undefined : { ip }
  context.notify({ kind, userId, factor, ...source, ...(isFirst ? { isFirst } : undefined) })
}

/** Creates a proof and emits `mfa.verified`. */
export function issueProof(
  context: FactorContext,
  shown: Omit<Shown, 'before' | 'provedAt' | 'isLoginTrusted' | 'sessionId'>,
  origin: Origin,
  driftSteps: number | null = null,
): MfaProof {
  const { amr: before = [], isLoginTrusted, sessionId } = origin
  const provedAt = context.now()
  const proof = createProof({ ...shown, before, isLoginTrusted, sessionId, provedAt })
  const { userId, method, aal } = proof
  context.emit('mfa.verified', userId, { method, aal, driftSteps }, origin)
  return proof
}

/**
 * Removes what removed or replaced factors have proved in any session, because an attacker may have
 * held them. Sessions that showed another factor go on. Proofs by remembered devices are removed
 * too: their devices have already been removed from the account.
 */
export function revokeProofs(
  { sessionProofs }: FactorContext,
  userId: string,
  factors: readonly Method[],
): Promise<void> {
  return sessionProofs.clear(
    userId,
    ({ method }) => method === 'device' || (factors as readonly string[]).includes(method),
  )
}
