/** Subjects of operators: `{ ip }`, `{ principal }` and the like. A mistake must not do nothing silently. */
import { isIP } from 'node:net'
import { PARAPET_RATE_LIMITS_INVALID_ARGUMENT } from '../errors.ts'
import { compileKey, identify, isKeyName, type KeyName, type KeyValues } from '../keys/identity.ts'
import type { Tier } from './tier.ts'

/** The components of a subject, each by itself. */
export function componentsOf(subject: KeyValues): readonly string[] {
  return identify(compileKey(namesOf(subject)), subject).components
}

function namesOf({ headers = {}, ...simple }: KeyValues): readonly KeyName[] {
  return [
    ...Object.entries(simple).flatMap(([name, value]) => (value === undefined ? [] : [name])),
    ...Object.keys(headers).map((name) => `header:${name}`),
  ] as KeyName[]
}

/**
 * The component of a key that a subject lacks. `{ ip }` is a subject of a tier by one other component, because
 * requests without that are counted by address.
 */
export function missingOf({ key }: Tier, subject: KeyValues): KeyName | undefined {
  const given = namesOf(subject)
  if (given.includes('ip') && key.names.length === 1) return undefined
  return key.names.find((name) => !given.includes(name))
}

/** The tier that counts by something of a subject, which suffices for none. */
export function closestTier(tiers: Iterable<Tier>, subject: KeyValues): Tier {
  const given = namesOf(subject)
  const [first, ...others] = tiers
  return others.find(({ key }) => key.names.some((name) => given.includes(name))) ?? first!
}

/** @throws PARAPET_RATE_LIMITS_INVALID_ARGUMENT */
export function requireComplete(tier: Tier, subject: KeyValues): void {
  const missing = missingOf(tier, subject)
  if (missing === undefined) return
  const key = tier.key.names.join(' and ')
  invalid(`the tier "${tier.name}" counts by ${key}, so the subject must have "${missing}"`)
}

/** @throws PARAPET_RATE_LIMITS_INVALID_ARGUMENT */
export function requireSubject(subject: unknown): void {
  if (typeof subject !== 'object' || subject === null || Object.keys(subject).length === 0) {
    invalid('a subject must be an object such as { ip } or { principal }')
  }
  for (const [name, value] of Object.entries(subject)) {
    const isKnown = name === 'headers' || (isKeyName(name) && !name.startsWith('header:'))
    if (!isKnown) invalid(`a subject has no member ${JSON.stringify(name.slice(0, 32))}`)
    if (name === 'headers') requireHeaders(value)
    else if (typeof value !== 'string' || value === '') {
      invalid(`"${name}" of a subject must be a non-empty string`)
    } else if (name === 'ip' && isIP(value) === 0 && value !== 'unknown') {
      invalid('"ip" of a subject must be an IPv4 or IPv6 address')
    }
  }
}

function requireHeaders(headers: unknown): void {
  const entries = typeof headers === 'object' && headers !== null ? Object.entries(headers) : []
  const isValid = entries.every(
    ([name, value]) => isKeyName(`header:${name}`) && typeof value === 'string' && value !== '',
  )
  if (entries.length > 0 && isValid) return
  invalid('"headers" of a subject must have names in lower case and non-empty values')
}

/** @throws PARAPET_RATE_LIMITS_INVALID_ARGUMENT */
export function invalid(problem: string): never {
  throw new PARAPET_RATE_LIMITS_INVALID_ARGUMENT(problem)
}
