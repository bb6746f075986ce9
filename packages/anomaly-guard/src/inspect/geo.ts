/** Rules by country: a lookup in a MaxMind database file, and who may come in. */
import {
  PARAPET_ANOMALY_GUARD_INVALID_ARGUMENT,
  PARAPET_ANOMALY_GUARD_MISSING_PEER,
} from '../errors.ts'
import type { CountryLookup, GeoDecision, GeoRules } from './geo-types.ts'

/** How the databases in use write the country of an address. */
interface CountryRecord {
  readonly country?: { readonly iso_code?: string }
  readonly registered_country?: { readonly iso_code?: string }
  readonly country_code?: string
}

const CODE = /^[A-Z]{2}$/

/**
 * Opens a database of countries in MaxMind's format, for instance GeoLite2-Country.mmdb. It is read into
 * memory once, so replace the file and restart to update it.
 *
 * @param path of the `.mmdb` file.
 * @throws PARAPET_ANOMALY_GUARD_MISSING_PEER `maxmind` is not installed.
 * @throws PARAPET_ANOMALY_GUARD_INVALID_ARGUMENT the file cannot be read, or is no such database.
 */
export async function openCountryDatabase(path: string): Promise<CountryLookup> {
  const { open } = await import('maxmind').catch(() => {
    throw new PARAPET_ANOMALY_GUARD_MISSING_PEER('geo', 'maxmind')
  })
  const reader = await open(path).catch((error: unknown) => {
    const why = error instanceof Error ? error.message : String(error)
    throw new PARAPET_ANOMALY_GUARD_INVALID_ARGUMENT('country database', `cannot be read: ${why}`)
  })
  return {
    countryOf(address) {
      try {
        const found = reader.get(address) as CountryRecord | null
        const code = found?.country?.iso_code ?? found?.country_code
        return code ?? found?.registered_country?.iso_code
      } catch {
        // It throws for what is no address, such as the path of a socket.
        return undefined
      }
    },
  }
}

/**
 * Compiles rules by country.
 *
 * @returns the decision for one address.
 * @throws PARAPET_ANOMALY_GUARD_INVALID_ARGUMENT there is no rule, or a code is not two capitals.
 */
export function createGeoRules(
  rules: GeoRules,
  lookup: CountryLookup,
): (address: string | undefined) => GeoDecision {
  const { allow, deny = [] } = rules
  const unknown = rules.unknown ?? (allow === undefined ? 'allow' : 'deny')
  const wrong = [...(allow ?? []), ...deny].find((code) => !CODE.test(code))
  if (wrong !== undefined) {
    throw new PARAPET_ANOMALY_GUARD_INVALID_ARGUMENT(
      'country',
      `must be two capitals of ISO 3166, got ${JSON.stringify(wrong)}`,
    )
  }
  if (allow === undefined && deny.length === 0) {
    throw new PARAPET_ANOMALY_GUARD_INVALID_ARGUMENT(
      'rules by country',
      'must have "allow" or "deny"',
    )
  }
  const [allowed, denied] = [allow && new Set(allow), new Set(deny)]
  return (address) => {
    const country = address === undefined ? undefined : lookup.countryOf(address)
    if (country === undefined) return { country, allowed: unknown === 'allow' }
    return { country, allowed: !denied.has(country) && (allowed?.has(country) ?? true) }
  }
}
