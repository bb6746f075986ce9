/** Which route usually follows which: a chain over at most 255 routes, shared by all keys. */

const ROUTES = 256
/** Every other route shares this number. */
const OTHER = 255
const MAX_COUNT = 0xff_ff
/** What follows a route is unknown before so many requests. */
const ENOUGH = 32

/** Numbers routes, and measures and learns their order. */
export interface Sequences {
  /** The number of a route, 1 to 255. */
  numberOf(route: string | undefined): number
  /** How unexpected a route is after another one, in bits: 0 is certain, or not known yet. */
  surpriseOf(previous: number, next: number): number
  learn(previous: number, next: number): void
}

export function createSequences(): Sequences {
  const numbers = new Map<string, number>()
  const counts = new Uint16Array(ROUTES * ROUTES)
  const totals = new Uint32Array(ROUTES)

  const halve = (previous: number) => {
    let total = 0
    for (let at = previous * ROUTES; at < (previous + 1) * ROUTES; at++) {
      counts[at] = counts[at]! >> 1
      total += counts[at]!
    }
    totals[previous] = total
  }

  return {
    numberOf(route) {
      if (route === undefined) return OTHER
      const known = numbers.get(route)
      if (known !== undefined) return known
      if (numbers.size >= OTHER - 1) return OTHER
      numbers.set(route, numbers.size + 1)
      return numbers.size
    },
    surpriseOf(previous, next) {
      if (totals[previous]! < ENOUGH) return 0
      const seen = counts[previous * ROUTES + next]! + 0.5
      return -Math.log2(seen / (totals[previous]! + 0.5 * (numbers.size + 1)))
    },
    learn(previous, next) {
      if (previous === 0) return
      const at = previous * ROUTES + next
      if (counts[at] === MAX_COUNT) halve(previous)
      counts[at]! += 1
      totals[previous]! += 1
    },
  }
}
