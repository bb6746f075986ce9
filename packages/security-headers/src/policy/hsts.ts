/** `Strict-Transport-Security` (HSTS). @see RFC 6797, section 6.1 */
import { option, optionGroup, type OptionReader } from '@parapet/kit'

/** The settings of `Strict-Transport-Security`. */
export interface HstsSettings {
  /** How long browsers use https only: seconds. @default 63 072 000, two years */
  readonly maxAgeSeconds: number
  /** @default true */
  readonly includeSubDomains: boolean
  /**
   * Asks for an entry in the preload list of browsers. Browsers then never use http for this host,
   * and removing the entry takes months. @default false
   */
  readonly preload: boolean
}

/** The shortest duration that the preload list accepts. @see hstspreload.org */
export const ONE_YEAR_SECONDS = 31_536_000
const TWO_YEARS_SECONDS = 2 * ONE_YEAR_SECONDS

/** The default of every preset. */
export const defaultHsts: HstsSettings = Object.freeze({
  maxAgeSeconds: TWO_YEARS_SECONDS,
  includeSubDomains: true,
  preload: false,
})

/** Reads the option `hsts`. */
export const hstsReader: OptionReader<HstsSettings> = optionGroup({
  maxAgeSeconds: option.seconds({ min: 0, default: TWO_YEARS_SECONDS }),
  includeSubDomains: option.boolean({ default: true }),
  preload: option.boolean({ default: false }),
})
