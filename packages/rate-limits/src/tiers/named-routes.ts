/** Finds the entry of the option `routes` for a route, by method and pattern. */

/** The form of a name: `GET /docs`, `GET /docs/**`, `* /docs/**`, or `OPTIONS *` for preflight requests. */
export const NAMED_ROUTE = /^(?:\*|[A-Z]+) (?:\/\S*|\*)$/

export class NamedRoutes {
  readonly #names: readonly string[]
  readonly #wildcards: readonly string[]
  readonly #used = new Set<string>()

  constructor(names: readonly string[]) {
    this.#names = names
    const wildcards = names.filter((name) => name.endsWith('/**'))
    this.#wildcards = wildcards.toSorted((a, b) => b.length - a.length)
  }

  /** The name that covers every method of a route; an exact name first, then the longest. */
  find(methods: readonly string[], url: string): string | undefined {
    const [name, ...others] = new Set(methods.map((method) => this.#nameFor(method, url)))
    // If the methods of one route have different entries, they have no common rule.
    if (name === undefined || others.length > 0) return undefined
    this.#used.add(name)
    return name
  }

  /** Names that no route has matched. */
  unused(): readonly string[] {
    return this.#names.filter((name) => !this.#used.has(name))
  }

  #nameFor(method: string, url: string): string | undefined {
    const path = url.length > 1 && url.endsWith('/') ? url.slice(0, -1) : url
    const methods = method === 'HEAD' ? ['HEAD', 'GET', '*'] : [method, '*']
    const exact = methods.flatMap((each) => [`${each} ${url}`, `${each} ${path}`])
    return (
      exact.find((name) => this.#names.includes(name)) ??
      this.#wildcards.find((name) => {
        const [wanted, base] = name.slice(0, -'/**'.length).split(' ') as [string, string]
        return methods.includes(wanted) && (url === base || url.startsWith(`${base}/`))
      })
    )
  }
}
