/** One step of the campaign: what is tried, and what must stop it. */
import { isDeepStrictEqual } from 'node:util'
import type { Answer } from './client.ts'
import type { Target } from './target.ts'

/** A step. */
export interface Step {
  readonly name: string
  /** What the attacker does, as a sentence. */
  readonly tries: string
  /** Where a defender sees it. */
  readonly seenIn: string
  /** Whether it edits the database of the server. @default false */
  readonly needsDatabase?: boolean
  /** @returns what stopped the attack. @throws AttackSucceeded it was not stopped. */
  run(target: Target): Promise<string>
}

/** The attack was not stopped, or the server did not answer as it should. */
class AttackSucceeded extends Error {
  override readonly name = 'AttackSucceeded'
}

/** @throws AttackSucceeded the condition does not hold. */
export function must(condition: boolean, fault: string): asserts condition {
  if (!condition) throw new AttackSucceeded(fault)
}

/** Asserts the status and the code of a refusal. @returns both, for the report. */
export function requireRefusal(
  { status, body }: Answer,
  expected: number | readonly number[],
  code?: string,
): string {
  const given = body['code']
  const statuses = [expected].flat()
  must(
    statuses.includes(status),
    `expected ${statuses.join(' or ')}, got ${status} ${String(given)}`,
  )
  must(code === undefined || given === code, `expected ${code}, got ${String(given)}`)
  return typeof given === 'string' ? `${status} ${given}` : String(status)
}

/** @throws AttackSucceeded the values differ. */
export function requireSame(one: unknown, other: unknown, fault: string): void {
  must(isDeepStrictEqual(one, other), fault)
}
