/** The stored form of a policy: canonical JSON, and the digest that names it. */
import { createHash } from 'node:crypto'
import { PARAPET_RBAC_INVALID_POLICY } from './errors.ts'
import { readPolicy } from './policy-reader.ts'
import type { PolicyDocument } from './policy-types.ts'

/** A policy as text: JSON without blanks, members sorted by their UTF-16 code units. @see RFC 8785 */
export function encodePolicy(policy: PolicyDocument): string {
  return canonicalJson(policy)
}

/**
 * Reads a stored policy.
 *
 * @throws PARAPET_RBAC_INVALID_POLICY it is no policy, or not the very text that
 *   {@link encodePolicy} writes for it.
 */
export function decodePolicy(text: string): PolicyDocument {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    throw new PARAPET_RBAC_INVALID_POLICY('  policy: is no JSON')
  }
  const policy = readPolicy(value)
  if (encodePolicy(policy) !== text) {
    throw new PARAPET_RBAC_INVALID_POLICY('  policy: is not in its canonical form')
  }
  return policy
}

/** The SHA-256 of the stored form, in hexadecimal. */
export function digestOf(policy: PolicyDocument): string {
  return createHash('sha256').update(encodePolicy(policy)).digest('hex')
}

function canonicalJson(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonicalJson).join(',')}]`
  if (typeof value !== 'object' || value === null) return JSON.stringify(value)
  const members = Object.entries(value)
    .toSorted(([a], [b]) => (a < b ? -1 : 1))
    .map(([name, member]) => `${JSON.stringify(name)}:${canonicalJson(member)}`)
  return `{${members.join(',')}}`
}
