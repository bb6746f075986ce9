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
        if (names.includes(name)) continue
        const meant = faults.hintFor?.(`${path}.${name}`) ?? nearest(name, names)
        const hint = meant === undefined ? '' : `, did you mean "${meant}"?`
        faults.add(`${path}.${name}`, `must be a ${what}${hint}`)
      }
      return entries
    },
  }
}

/** Finds a name that is written in camel case, with another separator, or not to its end. */
function nearest(name: string, names: readonly string[]): string | undefined {
  const wanted = plain(name)
  const same = names.find((each) => plain(each) === wanted)
  if (same !== undefined || wanted.length < 4) return same
  return names.find((each) => plain(each).startsWith(wanted))
}

function plain(text: string): string {
  return text.toLowerCase().replaceAll(/[^a-z]/g, '')
}
