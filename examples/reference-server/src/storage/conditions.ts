/** Conditions of lists: SQL with parameters only. No text of a request becomes part of a statement. */
import type { Condition } from './table.ts'

/** Selects rows that have the words in one of the columns, in any case. `''` and `undefined`: all rows. */
export function containing(columns: readonly string[], words = ''): Condition | undefined {
  if (words === '') return undefined
  const pattern = `%${words.replaceAll(/[\\%_]/g, String.raw`\$&`)}%`
  return (first) => ({
    text: `(${columns.map((column) => `${column} ILIKE $${first}`).join(' OR ')})`,
    values: [pattern],
  })
}

/** Selects rows that all the conditions select; `undefined` selects every row. */
export function allOf(...conditions: readonly (Condition | undefined)[]): Condition | undefined {
  const given = conditions.filter((each) => each !== undefined)
  if (given.length === 0) return undefined
  return (first) => {
    const values: unknown[] = []
    const texts = given.map((condition) => {
      const part = condition(first + values.length)
      values.push(...part.values)
      return part.text
    })
    return { text: texts.join(' AND '), values }
  }
}
