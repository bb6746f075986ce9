/** Which headers of thrown errors and upstream responses may not replace those of the block. */
import { corsHeaders } from '../cors/cors-headers.ts'

/**
 * The guarded names of one block: its own and those of CORS. `Cache-Control` is not among them: an
 * upstream knows what its response is, and a value is completed like that of a handler.
 *
 * @param passed the names that the route leaves to errors and upstreams.
 */
export function guardedNames(
  blockNames: readonly string[],
  passed: Readonly<Record<string, string>>,
): ReadonlySet<string> {
  const names = [...blockNames, ...corsHeaders]
  return new Set(names.filter((name) => name !== 'cache-control' && !(name in passed)))
}
