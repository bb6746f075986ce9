/** What a check reports. */

/** One fault of one file. */
export interface Finding {
  /** From the folder `deploy`. */
  readonly file: string
  /** A short name, for instance `pinned-image`. */
  readonly rule: string
  /** What was expected, and what is there. */
  readonly message: string
}

/** Collects the findings of one file. */
export function createReport(file: string) {
  const findings: Finding[] = []
  return {
    findings,
    /** Adds a finding unless the condition holds. */
    expect(condition: boolean, rule: string, message: string): void {
      if (!condition) findings.push({ file, rule, message })
    },
  }
}

/** The report of one file. */
export type Report = ReturnType<typeof createReport>

/** Whether a value is an object with members: no array, no `null`. */
export function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** The members of a value; none if it is no object. */
export function membersOf(value: unknown): Readonly<Record<string, unknown>> {
  return isObject(value) ? value : {}
}

/** The items of a value; none if it is no array. */
export function itemsOf(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : []
}

/** A value as text: a number or boolean, too; anything else is none. */
export function textOf(value: unknown): string {
  if (typeof value === 'string') return value
  return typeof value === 'number' || typeof value === 'boolean' ? `${value}` : ''
}

/** The texts among the items of a value. */
export function textsOf(value: unknown): readonly string[] {
  return itemsOf(value).filter((item) => typeof item === 'string')
}

/** An image with the digest of its content. Without one, a tag may name another image tomorrow. */
export const PINNED_IMAGE = /^[^@\s]+:[^@\s]+@sha256:[0-9a-f]{64}$/

/** Names of variables that hold secrets. */
export const SECRET_NAME =
  /(?:PASSWORD|PASSWD|SECRET|TOKEN|_KEYS?|KEYSET|_AUTH|DATABASE_URL|REDIS_URL|SMTP_URL)$/
