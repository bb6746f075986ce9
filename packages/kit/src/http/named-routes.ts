/** Finds the entry of an option `routes` for a route, by method and pattern. */

/** See {@link createNamedRoutes}. */
export interface NamedRoutes {
  /** The name that covers every method of a route; `undefined`: none does, or several do. */
  readonly find: (methods: readonly string[], url: string) => string | undefined
  /** Names that no route has matched, also those of many routes. */
  readonly unused: () => readonly string[]
}

/** The form of a name: `GET /docs`, `GET /docs/**`, `* /docs/**`, or `OPTIONS *` for preflight requests. */
export const namedRoutePattern = /^(?:\*|[A-Z]+) (?:\/\S*|\*)$/

const MANY = '/**'

/**
 * Indexes the names of an option `routes`. `GET /docs` names one route and its `HEAD` route,
 * `GET /docs/**` that route and all below it, and `* /docs/**` those of every method. An exact name
 * takes precedence, then the longest one. A name also covers its path with or without a slash at the
 * end, if that has no name of its own: a plugin with the prefix `/docs` and the route `/` has both.
 */
export function createNamedRoutes(names: readonly string[]): NamedRoutes {
  const known = new Set(names)
  const used = new Set<string>()
  const wildcards = names
    .filter((name) => name.endsWith(MANY))
    .toSorted((a, b) => b.length - a.length)

  const nameFor = (method: string, url: string): string | undefined => {
    const methods = method === 'HEAD' ? ['HEAD', 'GET', '*'] : [method, '*']
    const exact = [url, otherSpelling(url)]
      .flatMap((path) => methods.map((each) => `${each} ${path}`))
      .find((name) => known.has(name))
    return exact ?? wildcards.find((name) => covers(name, methods, url))
  }

  return {
    find(methods, url) {
      const [name, ...others] = new Set(methods.map((method) => nameFor(method, url)))
      // If the methods of one route have different entries, they have no common rule.
      if (name === undefined || others.length > 0) return undefined
      used.add(name)
      return name
    },
    unused: () => names.filter((name) => !used.has(name)),
  }
}

function otherSpelling(url: string): string {
  if (url === '/' || url === '*') return url
  return url.endsWith('/') ? url.slice(0, -1) : `${url}/`
}

function covers(name: string, methods: readonly string[], url: string): boolean {
  const space = name.indexOf(' ')
  const base = name.slice(space + 1, -MANY.length)
  return methods.includes(name.slice(0, space)) && (url === base || url.startsWith(`${base}/`))
}
