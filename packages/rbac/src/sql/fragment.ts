/** SQL as text and values, in order. Text comes from this package and from quoted names only. */

/** A boolean expression and the values of its parameters. */
export interface SqlFragment {
  readonly text: string
  readonly values: readonly unknown[]
  /**
   * The text around the values, one more than there are values: for tagged templates, as
   * ``sql(strings, ...values)``.
   */
  readonly strings: readonly string[]
}

/** Pieces of SQL: text, and values that become parameters. */
export type Sql = readonly (string | { readonly value: unknown })[]

/** Composes SQL. Text that is interpolated is not escaped: it must be SQL of this package. */
export function sql(strings: TemplateStringsArray, ...parts: readonly (Sql | string)[]): Sql {
  return strings.flatMap((text, index) => {
    const part = parts[index]
    if (part === undefined) return [text]
    return typeof part === 'string' ? [text, part] : [text, ...part]
  })
}

/** A value as a parameter. */
export function parameter(value: unknown): Sql {
  return [{ value }]
}

/** Joins pieces of SQL. */
export function join(parts: readonly Sql[], separator: string): Sql {
  return parts.flatMap((part, index) => (index === 0 ? part : [separator, ...part]))
}

/** Renders SQL. @param placeholder returns the text of the parameter with a number from 0. */
export function render(pieces: Sql, placeholder: (index: number) => string): SqlFragment {
  const strings = ['']
  const values: unknown[] = []
  for (const piece of pieces) {
    if (typeof piece === 'string') strings[strings.length - 1] += piece
    else {
      values.push(piece.value)
      strings.push('')
    }
  }
  const text = strings.reduce((left, right, index) => `${left}${placeholder(index - 1)}${right}`)
  return { text, values, strings }
}
