/** The tiers that every app has. An option of the same name changes single members. */
import type { TierOptions } from './tier.ts'

const MINUTE_MS = 60_000
const HOUR_MS = 3_600_000

/** Built-in tiers by name. */
export const builtInTiers = {
  standard: { limits: [{ limit: 100, windowMs: HOUR_MS }], blockMs: 10 * MINUTE_MS },
  scraping: { limits: [{ limit: 10, windowMs: HOUR_MS }], blockMs: HOUR_MS },
  // By address and account: users who share an address do not use up each other's attempts.
  auth: {
    limits: [
      { limit: 5, windowMs: MINUTE_MS },
      { limit: 20, windowMs: HOUR_MS },
    ],
    algorithm: 'exact',
    key: ['ip', 'account'],
    degradedRatio: 0.5,
    with: ['auth-address'],
  },
  // Against guesses of many accounts from one address; users who have logged in from it are exempt.
  'auth-address': {
    limits: [{ limit: 60, windowMs: HOUR_MS }],
    count: 'failures',
    degradedRatio: 0.5,
    provenBy: ['ip', 'account'],
  },
  ml: { limits: [{ limit: 20, windowMs: HOUR_MS }], blockMs: 30 * MINUTE_MS },
  user: {
    limits: [{ limit: 1000, windowMs: HOUR_MS }],
    blockMs: 10 * MINUTE_MS,
    key: 'principal',
  },
} as const satisfies Readonly<Record<string, TierOptions>>

/** The name of a built-in tier. */
export type BuiltInTier = keyof typeof builtInTiers
