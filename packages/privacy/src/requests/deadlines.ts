/** Deadlines: one month, which may be extended by two. @see GDPR, article 12(3) */

/** The percentages of the time at which a reminder is emitted. */
const REMINDERS = [50, 80, 100] as const

/**
 * The same day of a later month, or the last day of that month if it has no such day.
 *
 * @see Regulation (EEC, Euratom) No 1182/71, article 3(2)(c)
 */
export function addMonths(time: number, months: number): number {
  const date = new Date(time)
  const day = date.getUTCDate()
  date.setUTCDate(1)
  date.setUTCMonth(date.getUTCMonth() + months)
  const lastDay = new Date(Date.UTC(date.getUTCFullYear(), date.getUTCMonth() + 1, 0)).getUTCDate()
  date.setUTCDate(Math.min(day, lastDay))
  return date.getTime()
}

/** The reminders that are due and were not emitted yet. */
export function dueReminders(
  { openedAt, dueAt, reminded }: { openedAt: number; dueAt: number; reminded: readonly number[] },
  now: number,
): number[] {
  const share = ((now - openedAt) / (dueAt - openedAt)) * 100
  return REMINDERS.filter((percent) => share >= percent && !reminded.includes(percent))
}
