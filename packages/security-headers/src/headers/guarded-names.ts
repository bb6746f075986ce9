/** Which headers of thrown errors and upstream responses are dropped. */
import { corsHeaders } from '../cors/cors-headers.ts'
import { originWideHeaders } from '../policy/origin-wide.ts'

/**
 * The guarded names of one block: its own, those of CORS, and those that change the whole origin.
 * `Cache-Control` is not among them: an upstream knows what its response is, and a value is completed
 * like that of a handler.
 *
 * @param passed the names that the route leaves to errors and upstreams.
 */
export function guardedNames(
  blockNames: readonly string[],
  passed: Readonly<Record<string, string>>,
): ReadonlySet<string> {
  const names = [...blockNames, ...corsHeaders, ...originWideHeaders]
  return new Set(names.filter((name) => name !== 'cache-control' && !(name in passed)))
}
