/** Finds the entry of the option `routes` for a route, by method and pattern. */

/** See {@link createNamedRoutes}. */
export interface NamedRoutes {
  /** Returns the name that covers every method of a route, or `undefined`. */
  find(methods: readonly string[], url: string): string | undefined
  /** Returns names of single routes that no route has matched. */
  unused(): readonly string[]
}

/**
 * Indexes the names of the option `routes`. `GET /docs` names one route and its `HEAD` route,
 * `GET /docs/**` that route and all below it, and `* /docs/**` those of every method. A name also
 * covers its path with a slash at the end: a plugin with the prefix `/docs` and the route `/` has both.
 * An exact name takes precedence, then the longest one.
 */
export function createNamedRoutes(names: readonly string[]): NamedRoutes {
  const known = new Set(names)
  const used = new Set<string>()
  const wildcards = names
    .filter((name) => name.endsWith('/**'))
    .toSorted((a, b) => b.length - a.length)

  const nameFor = (method: string, url: string): string | undefined => {
    const methods = method === 'HEAD' ? ['HEAD', 'GET', '*'] : [method, '*']
    const spellings = url.length > 1 && url.endsWith('/') ? [url, url.slice(0, -1)] : [url]
    const exact = spellings
      .flatMap((each) => methods.map((method) => `${method} ${each}`))
      .find((name) => known.has(name))
    return (
      exact ??
      wildcards.find((name) => {
        const space = name.indexOf(' ')
        const base = name.slice(space + 1, -'/**'.length)
        return (
          methods.includes(name.slice(0, space)) && (url === base || url.startsWith(`${base}/`))
        )
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
