/** What the rules by country take and return. */

/** Looks up one country; an adapter of `maxmind`, or the user's own. */
export interface CountryLookup {
  /** @returns the ISO 3166 code in capitals, or `undefined` if it is not known. Never throws. */
  countryOf(address: string): string | undefined
}

/** Which countries may come in. */
export interface GeoRules {
  /** If given, only these countries are allowed. */
  readonly allow?: readonly string[]
  /** These countries are refused; it wins over `allow`. */
  readonly deny?: readonly string[]
  /** What happens to an address of no known country. @default 'allow' with only `deny`, else 'deny' */
  readonly unknown?: 'allow' | 'deny'
}

/** The answer for one address. */
export interface GeoDecision {
  readonly country: string | undefined
  readonly allowed: boolean
}
