/** What the API returns, as far as the console reads it. */

export type Severity = 'info' | 'low' | 'medium' | 'high' | 'critical'

export interface Me {
  readonly id: string
  /** Empty: unknown. */
  readonly name: string
  readonly sessionId: string | null
  readonly roles: readonly string[]
  readonly permissions: readonly string[]
  /** The optional parts that this server has. */
  readonly parts: readonly string[]
  readonly serverTime: number
  readonly recordingSince: number
}

export interface FeedEvent {
  readonly id: string
  readonly time: number
  readonly type: string
  readonly severity: Severity
  readonly outcome: string
  readonly principalId?: string
  readonly ip?: string
  readonly userAgent?: string
  readonly requestId?: string
  readonly route?: string
  readonly details: Readonly<Record<string, unknown>>
}

export interface Minute {
  readonly time: number
  readonly answered: number
  readonly refused: number
  readonly failed: number
  readonly anomalies: number
  readonly alarms: number
  readonly p50: number | null
  readonly p95: number | null
  readonly p99: number | null
}

export interface Ready {
  readonly ready: boolean
  readonly closing: boolean
  readonly [dependency: string]: boolean | string
}

export interface Containment {
  readonly id: string
  readonly kind: string
  readonly target: { readonly type: string; readonly value: string }
  readonly createdAt: number
  readonly until: number
  readonly reason: string
  readonly by: string | null
  readonly level: number
  readonly anomalyId: string | null
}

/** The newest containments that a search finds, and how many it finds. */
export interface ContainmentPage {
  readonly items: readonly Containment[]
  readonly total: number
}

export interface Anomaly {
  readonly id: string
  readonly time: number
  readonly rule: string
  readonly label: string
  readonly severity: Severity
  readonly mode: string
  readonly subject: Readonly<Record<string, string>>
  readonly evidence: Readonly<Record<string, number>>
  readonly reasons?: readonly string[]
  readonly route?: string
  readonly verdict?: string
  readonly sentences: readonly string[]
  readonly incidentId: string | null
  readonly containments: readonly Containment[]
}

export interface Rule {
  readonly name: string
  readonly mode: string
  readonly detections: number
  readonly anomalies: number
  readonly clients: number
  readonly requests: number
}

interface AuditRecord {
  readonly id: string
  readonly time: number
  readonly action: string
  readonly result: string
  readonly principal?: unknown
  readonly ip?: unknown
  readonly resource?: string
  readonly resourceId?: unknown
  readonly route?: string
  readonly severity?: string
  readonly status?: number
  readonly [member: string]: unknown
}

export interface PlacedRecord {
  readonly index: number
  readonly record: AuditRecord
}

export interface AccessMatrix {
  readonly policyDigest: string
  readonly revision: number
  readonly roles: readonly string[]
  readonly permissions: readonly string[]
  readonly rows: readonly {
    readonly method: string
    readonly url: string
    readonly rule: string
    readonly anonymous: string
    readonly roles: Readonly<Record<string, string>>
  }[]
}

export interface AccessExplanation {
  readonly allowed: boolean
  readonly reason: string
  readonly text: string
  readonly grants: readonly {
    readonly path: readonly string[]
    readonly grant: string
    readonly condition?: string
    readonly holds: boolean | null
  }[]
  readonly nearestMisses: readonly string[]
}

export interface Session {
  readonly id: string
  readonly startedAt: number
  readonly lastSeenAt: number
  readonly expiresAt: number
  readonly amr: readonly string[]
  readonly label?: string
  readonly ip?: string
  readonly userAgent?: string
  readonly current?: boolean
}

export interface User {
  readonly id: string
  readonly email: string
  readonly displayName: string
  readonly roles?: readonly string[]
}

export interface Factors {
  readonly enrolled: boolean
  readonly totp: { readonly enrolledAt: number } | null
  readonly totpLocked: boolean
  readonly backupCodesLeft: number
  readonly passkeys: readonly {
    readonly id: string
    readonly name: string
    readonly createdAt: number
    readonly lastUsedAt: number
  }[]
}
