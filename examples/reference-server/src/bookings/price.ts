/** The price of a booking, in the smallest unit of its currency. */
import { PARAPET_REFERENCE_PRICE_DECIMALS } from '../errors.ts'

/** How many digits the currency has after the point: 2 for EUR, 0 for JPY. @see ISO 4217 */
function digitsOf(currency: string): number {
  const format = new Intl.NumberFormat('en', { style: 'currency', currency })
  return format.resolvedOptions().maximumFractionDigits ?? 2
}

/**
 * Converts an amount such as 120.5 to the smallest unit.
 *
 * @throws PARAPET_REFERENCE_PRICE_DECIMALS the currency has fewer digits after the point.
 */
export function toMinor(amount: number, currency: string): number {
  const minor = amount * 10 ** digitsOf(currency)
  const rounded = Math.round(minor)
  // A price with two decimals is off by less than this after the multiplication.
  if (Math.abs(minor - rounded) > 1e-3) throw new PARAPET_REFERENCE_PRICE_DECIMALS(currency)
  return rounded
}

/** What an offer is worth, compared with the usual price of the artist. */
export type Verdict = 'unavailable' | 'low' | 'fair' | 'high'

/** An offer within a tenth of the usual price is fair. */
const TOLERANCE = 0.1

/** Decides what an offer is worth. */
export function decideVerdict(offerMinor: number, usualMinor: number, isFree: boolean): Verdict {
  if (!isFree) return 'unavailable'
  if (offerMinor < usualMinor * (1 - TOLERANCE)) return 'low'
  return offerMinor > usualMinor * (1 + TOLERANCE) ? 'high' : 'fair'
}
