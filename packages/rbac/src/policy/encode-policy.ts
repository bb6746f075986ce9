/** The stored form of a policy: canonical JSON and its digest. */
import { createHash } from 'node:crypto'
import { PARAPET_RBAC_INVALID_POLICY } from '../errors.ts'
import { readPolicy } from './read-policy.ts'
import type { PolicyDocument } from './policy-types.ts'

/** Encodes a policy as canonical JSON. @see RFC 8785 @see docs/spec/rbac-policy.md */
export function encodePolicy(policy: PolicyDocument): string {
  return canonicalJson(policy)
}

/**
 * Decodes a stored policy.
 *
 * @throws PARAPET_RBAC_INVALID_POLICY if the text is not a valid policy, or is not exactly what
 *   {@link encodePolicy} writes for it.
 */
export function decodePolicy(text: string): PolicyDocument {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    throw new PARAPET_RBAC_INVALID_POLICY('  policy: must be JSON; the text cannot be parsed')
  }
  const policy = readPolicy(value)
  if (encodePolicy(policy) !== text) {
    throw new PARAPET_RBAC_INVALID_POLICY(
      '  policy: must be in canonical form (RFC 8785), as encodePolicy writes it',
    )
  }
  return policy
}

/** Returns the SHA-256 of the stored form, in lower-case hexadecimal. */
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
