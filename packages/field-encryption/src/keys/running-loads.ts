/** Loads of keys in progress: concurrent requests share one load, and a change of keys marks it outdated. */

/** A load in progress. */
export interface Load {
  readonly name: string
  /** The keys have changed since the load began: its result is returned once and not cached. */
  isOutdated: boolean
}

/** Shares one promise among concurrent callers that ask for the same name. */
export class SingleFlight<T> {
  readonly #flights = new Map<string, Promise<T>>()

  get(name: string): Promise<T> | undefined {
    return this.#flights.get(name)
  }

  /** The running load of this name, or else a new one. */
  join(name: string, load: () => Promise<T>): Promise<T> {
    const running = this.#flights.get(name)
    if (running !== undefined) return running
    const flight = load().finally(() => {
      if (this.#flights.get(name) === flight) this.#flights.delete(name)
    })
    this.#flights.set(name, flight)
    return flight
  }

  /** Later callers do not join the running load of this name. */
  release(name: string): void {
    this.#flights.delete(name)
  }

  releaseAll(): void {
    this.#flights.clear()
  }
}

/** Tracks loads, so that a change of keys reaches those in progress. */
export class RunningLoads {
  readonly #loads = new Set<Load>()

  begin(names: readonly string[]): Load[] {
    const loads = names.map((name) => ({ name, isOutdated: false }))
    for (const load of loads) this.#loads.add(load)
    return loads
  }

  end(loads: readonly Load[]): void {
    for (const load of loads) this.#loads.delete(load)
  }

  outdate(name: string): void {
    for (const load of this.#loads) load.isOutdated ||= load.name === name
  }

  outdateAll(): void {
    for (const load of this.#loads) load.isOutdated = true
  }
}
