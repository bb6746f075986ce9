/** An option that maps known names to values. */
import { option, type OptionReader } from '@parapet/kit'

/** Reads an object whose keys are all in `names`. @param what the kind of name, for messages. */
export function namedMap<T>(
  names: readonly string[],
  what: string,
  item: OptionReader<T>,
): OptionReader<Readonly<Record<string, T>>> {
  const map = option.map(item)
  return {
    read: (value, path, faults) => {
      const entries = map.read(value, path, faults)
      for (const name of Object.keys(entries)) {
        if (!names.includes(name)) faults.add(`${path}.${name}`, `must be a ${what}`)
      }
      return entries
    },
  }
}
