/** When releases of Node.js stop receiving security fixes (https://github.com/nodejs/release). */

const ENDS: Readonly<Record<number, string>> = {
  16: '2023-09-11',
  17: '2022-06-01',
  18: '2025-04-30',
  19: '2023-06-01',
  20: '2026-04-30',
  21: '2024-06-01',
  22: '2027-04-30',
  23: '2025-06-01',
  24: '2028-04-30',
  25: '2026-06-01',
  26: '2029-04-30',
}

/** The end of security fixes in milliseconds since the epoch; `undefined`: the release is newer than this table. */
export function endOfLife(version: string): number | undefined {
  const major = Number(version.split('.')[0])
  if (major < 16) return Date.UTC(2022, 0, 1)
  const day = ENDS[major]
  return day === undefined ? undefined : Date.parse(day)
}
