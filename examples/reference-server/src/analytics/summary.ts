/** Sums and counts of the domain, read from the database. */
import type { SqlQueryable } from '@parapet/kit'

interface Month {
  readonly month: string
  readonly currency: string
  readonly requested: number
  readonly confirmed: number
  readonly cancelled: number
  readonly confirmedMinor: number
}

const MONTHS = `
  SELECT to_char(on_date, 'YYYY-MM') AS month, currency,
    (count(*) FILTER (WHERE status = 'requested'))::int AS requested,
    (count(*) FILTER (WHERE status = 'confirmed'))::int AS confirmed,
    (count(*) FILTER (WHERE status = 'cancelled'))::int AS cancelled,
    (coalesce(sum(price_minor) FILTER (WHERE status = 'confirmed'), 0))::float8 AS "confirmedMinor"
  FROM bookings WHERE on_date BETWEEN $1::date AND $2::date
  GROUP BY 1, 2 ORDER BY 1, 2`

const TOTALS = `
  SELECT (SELECT count(*)::int FROM artists) AS artists, (SELECT count(*)::int FROM venues) AS venues,
    (SELECT count(*)::int FROM content WHERE status = 'published') AS "publishedContent"`

interface Totals {
  readonly artists: number
  readonly venues: number
  readonly publishedContent: number
}

/** Summarizes the concerts between two days, both included. */
export async function readSummary(sql: SqlQueryable, from: string, to: string) {
  const { rows: months } = await sql.query<Month>(MONTHS, [from, to])
  const { rows: totals } = await sql.query<Totals>(TOTALS)
  return { from, to, ...totals[0]!, months }
}
