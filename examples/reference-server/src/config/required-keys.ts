/** The keys that a server needs as soon as its data outlive the process. */
import { PARAPET_REFERENCE_KEYS_MISSING } from '../errors.ts'
import type { Config } from './environment.ts'

/** The variables that `npm run keys` prints. */
export const keyMembers = {
  FIELD_KEYSET: 'fieldKeyset',
  MFA_KEYS: 'mfaKeys',
  PRIVACY_KEYS: 'privacyKeys',
  PRIVACY_SECRET: 'privacySecret',
  AUDIT_KEY: 'auditKey',
  SIGNING_KEY: 'signingKey',
  SESSION_SECRET: 'sessionSecrets',
} as const satisfies Readonly<Record<string, keyof Config>>

/**
 * Refuses a production server on PostgreSQL that would make keys of its own: what it encrypts or signs
 * would be unreadable or untrusted for the next process and for every other instance.
 *
 * @param nodeEnv the variable `NODE_ENV`. An `https:` origin is a sign of production, too.
 * @throws PARAPET_REFERENCE_KEYS_MISSING
 */
export function requireKeys(config: Config, nodeEnv: string | undefined): void {
  const isProduction = nodeEnv === 'production' || config.publicUrl.startsWith('https:')
  if (config.databaseUrl === undefined || !isProduction) return
  const missing = Object.entries(keyMembers)
    .filter(([, member]) => config[member] === undefined)
    .map(([name]) => name)
  if (missing.length > 0) throw new PARAPET_REFERENCE_KEYS_MISSING(missing.join(', '))
}
