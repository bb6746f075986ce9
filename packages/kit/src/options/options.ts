/** Reads options: an unknown, mistyped or out-of-range option stops the boot. */
import { PARAPET_KIT_INVALID_ARGUMENT, PARAPET_KIT_INVALID_OPTION } from '../errors.ts'
import type { OptionFaults, OptionReader, OptionSettings } from './option-readers.ts'

/** One reader for each option; dangerous options have symbols as keys. */
export type OptionTable = Readonly<Record<string | symbol, OptionReader<unknown>>>

/** The error to throw; it gets the plugin's name and the list of faults. */
export type InvalidOptionConstructor = new (plugin: string, faults: string) => Error

/** Names that users of other libraries write, by path: `{ 'hsts.maxAge': 'hsts.maxAgeSeconds: 600' }`. */
export type OptionHints = Readonly<Record<string, string>>

/** What {@link readOptions} takes besides the table. */
export interface ReadOptionsSettings {
  /**
   * What the error for an unknown name suggests, before the nearest known name. The keys are whole
   * paths; an item of a list is `[]`, as in `rules[].max`. @default {}
   */
  readonly hints?: OptionHints
}

/** Options of `register` that Fastify itself reads. */
const FASTIFY_KEYS = new Set(['prefix', 'logLevel', 'logSerializers'])
const MAX_DISTANCE = 3

/**
 * Reads a plugin's options by its table and returns frozen settings with all defaults filled in. All
 * faults are reported at once. Fastify's own keys (`prefix`, `logLevel`, `logSerializers`) are
 * accepted unless the table has them.
 *
 * @param plugin the npm name, for the message.
 * @param InvalidOption the plugin's own error. @default PARAPET_KIT_INVALID_OPTION
 * @param settings hints for names of other libraries.
 * @throws InvalidOption an option is unknown (a hint or the nearest known one is named), missing,
 *   mistyped or out of range.
 * @throws PARAPET_KIT_INVALID_ARGUMENT the table has a quantity whose name does not end in its unit.
 */
export function readOptions<const S extends OptionTable>(
  plugin: string,
  input: unknown,
  table: S,
  InvalidOption: InvalidOptionConstructor = PARAPET_KIT_INVALID_OPTION,
  { hints = {} }: ReadOptionsSettings = {},
): OptionSettings<S> {
  const faults: string[] = []
  const settings = readTable(input ?? {}, table, '', {
    add: (path, problem) => faults.push(`  "${path}" ${problem}`),
    hintFor: (path) => hintOf(hints, path),
  })
  if (faults.length > 0) throw new InvalidOption(plugin, faults.join('\n'))
  return settings
}

/**
 * Reads a group of options; its faults carry the path, as in `totp.stepSeconds`. A group that is left
 * out is read as `{}`, so that the defaults of its members apply.
 */
export function optionGroup<const S extends OptionTable>(
  table: S,
): OptionReader<OptionSettings<S>> {
  return { read: (value, path, faults) => readTable(value ?? {}, table, `${path}.`, faults) }
}

function readTable<S extends OptionTable>(
  input: unknown,
  table: S,
  prefix: string,
  faults: OptionFaults,
): OptionSettings<S> {
  const given = (typeof input === 'object' && !Array.isArray(input) ? input : null) as Record<
    string | symbol,
    unknown
  > | null
  if (given === null) {
    faults.add(prefix === '' ? 'options' : prefix.slice(0, -1), 'must be an object')
    return {} as OptionSettings<S>
  }
  refuseUnknown(given, table, prefix, faults)
  const settings: Record<string | symbol, unknown> = {}
  for (const key of Reflect.ownKeys(table)) {
    const value = Object.hasOwn(given, key) ? given[key] : undefined
    settings[key] = readOne(value, table[key]!, `${prefix}${nameOf(key)}`, faults)
  }
  return Object.freeze(settings) as OptionSettings<S>
}

function readOne(
  value: unknown,
  { read, fallback, suffix }: OptionReader<unknown>,
  path: string,
  faults: OptionFaults,
): unknown {
  if (suffix !== undefined && !path.endsWith(suffix) && !path.endsWith(lowerFirst(suffix))) {
    throw new PARAPET_KIT_INVALID_ARGUMENT(
      `the option "${path}"`,
      `must end in its unit, "${suffix}"`,
    )
  }
  if (value === undefined && fallback !== undefined) return fallback.value
  return read(value, path, faults)
}

function refuseUnknown(
  given: object,
  table: OptionTable,
  prefix: string,
  faults: OptionFaults,
): void {
  const known = Reflect.ownKeys(table)
  for (const key of Reflect.ownKeys(given)) {
    if (known.includes(key) || (prefix === '' && FASTIFY_KEYS.has(key as string))) continue
    const path = `${prefix}${nameOf(key)}`
    const meant = typeof key === 'string' ? nearestOf(key, known.map(nameOf)) : undefined
    const nearest = faults.hintFor?.(path) ?? meant
    faults.add(
      path,
      nearest === undefined
        ? `is unknown, known are ${known.map(nameOf).join(', ')}`
        : `is unknown, did you mean "${nearest}"?`,
    )
  }
}

/** One hint serves all items of a list, so an index is left out of the path. */
function hintOf(hints: OptionHints, path: string): string | undefined {
  const name = path.replaceAll(/\[\d+\]/g, '[]')
  return Object.hasOwn(hints, name) ? hints[name] : undefined
}

function nameOf(key: string | symbol): string {
  return typeof key === 'string' ? key : `[${key.description ?? 'symbol'}]`
}

function lowerFirst(text: string): string {
  return text.charAt(0).toLowerCase() + text.slice(1)
}

/** The known name that a typing error or a missing unit most likely meant. */
function nearestOf(key: string, known: readonly string[]): string | undefined {
  const wanted = key.toLowerCase()
  const ranked = known
    .map((name) => {
      const candidate = name.toLowerCase()
      const related =
        wanted.length > 2 && (candidate.startsWith(wanted) || wanted.startsWith(candidate))
      return { name, distance: related ? 1 : editDistance(wanted, candidate) }
    })
    .toSorted((a, b) => a.distance - b.distance)
  const best = ranked[0]
  return best !== undefined && best.distance <= Math.min(MAX_DISTANCE, Math.ceil(key.length / 2))
    ? best.name
    : undefined
}

/** Levenshtein distance; a transposition counts as two. */
function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, j) => j)
  for (let i = 1; i <= a.length; i++) {
    const next = [i]
    for (let j = 1; j <= b.length; j++) {
      const substitution = row[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1)
      next.push(Math.min(substitution, row[j]! + 1, next[j - 1]! + 1))
    }
    row = next
  }
  return row[b.length]!
}
