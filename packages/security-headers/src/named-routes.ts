/** Finds the entry of the option `routes` for a route, by method and pattern. */

/** The names of the option `routes`, indexed. */
export interface NamedRoutes {
  /** The name that covers every method of a route; `undefined`: none does. */
  readonly find: (methods: readonly string[], url: string) => string | undefined
  /** Names of single routes that no route has matched. */
  readonly unused: () => readonly string[]
}

/** The form of a name: `GET /docs`, `GET /docs/**` or `* /docs/**`. */
export const NAMED_ROUTE = /^(?:\*|[A-Z]+) (?:\/|\*$)/

/**
 * Indexes the names of the option `routes`. `GET /docs` names one route and its `HEAD` route,
 * `GET /docs/**` that route and all below it, and `* /docs/**` those of every method. An exact name
 * takes precedence, then the longest one. A slash at the end makes no difference.
 */
export function createNamedRoutes(names: readonly string[]): NamedRoutes {
  const known = new Map(names.map((name) => [withoutSlash(name), name]))
  const used = new Set<string>()
  const wildcards = names
    .filter((name) => name.endsWith('/**'))
    .toSorted((a, b) => b.length - a.length)

  const nameFor = (method: string, url: string): string | undefined => {
    const methods = method === 'HEAD' ? ['HEAD', 'GET', '*'] : [method, '*']
    const exact = methods.map((each) => known.get(withoutSlash(`${each} ${url}`)))
    return (
      exact.find((name) => name !== undefined) ??
      wildcards.find((name) => {
        const [wanted, base] = name.slice(0, -'/**'.length).split(' ', 2) as [string, string]
        return methods.includes(wanted) && (url === base || url.startsWith(`${base}/`))
      })
    )
  }

  return {
    find(methods, url) {
      const [name, ...others] = new Set(methods.map((method) => nameFor(method, url)))
      // If the methods of one route have different entries, they have no common rule.
      if (name === undefined || others.length > 0) return undefined
      used.add(name)
      return name
    },
    unused: () => names.filter((name) => !name.endsWith('/**') && !used.has(name)),
  }
}

function withoutSlash(name: string): string {
  return name.endsWith('/') && !name.endsWith(' /') ? name.slice(0, -1) : name
}
