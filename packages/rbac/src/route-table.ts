/** Rules for routes that other plugins declare, found by method and pattern. */

/** Finds which name of the option `routes` speaks of a route. */
export interface RouteTable {
  /** The name that speaks of every method of the route, or `undefined`. */
  find(methods: readonly string[], url: string): string | undefined
  /** Names of single routes that were never found. */
  unused(): readonly string[]
}

/**
 * Makes the table. `GET /docs` names one route, with the `HEAD` that comes with it; `GET /docs/**`
 * that and all routes below; `* /docs/**` those of every method. The exact name wins, then the longest.
 */
export function createRouteTable(names: readonly string[]): RouteTable {
  const known = new Set(names)
  const used = new Set<string>()
  const wildcards = names
    .filter((name) => name.endsWith('/**'))
    .toSorted((a, b) => b.length - a.length)

  const nameFor = (method: string, url: string): string | undefined => {
    const methods = method === 'HEAD' ? ['HEAD', 'GET', '*'] : [method, '*']
    const exact = methods.map((each) => `${each} ${url}`).find((name) => known.has(name))
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
      // Methods of one route that are named apart have no rule in common.
      if (name === undefined || others.length > 0) return undefined
      used.add(name)
      return name
    },
    unused: () => names.filter((name) => !name.endsWith('/**') && !used.has(name)),
  }
}
