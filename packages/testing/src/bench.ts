/**
 * A paired benchmark: the cases take turns in one process, and the two slices of one round are
 * compared. A slow phase of the machine then slows both.
 */

/** What to measure, and how long. */
export interface BenchSettings {
  /** How often each case runs a slice. @default 11 */
  readonly rounds?: number
  /** The minimum length of one slice in milliseconds. @default 50 */
  readonly minMs?: number
  /**
   * `cpu` counts the time of all threads of this process, without waiting; a function is the caller's
   * own clock in nanoseconds. @default 'wall'
   */
  readonly time?: 'wall' | 'cpu' | (() => number)
  /** One operation by name. What it returns is kept alive; a promise is awaited each time. */
  readonly cases: Readonly<Record<string, () => unknown>>
}

/** Median, minimum and maximum over the rounds. */
export interface Spread {
  readonly median: number
  readonly min: number
  readonly max: number
}

/** The result of a benchmark. */
export interface BenchResult {
  /** Nanoseconds for each operation, by case. */
  readonly cases: Readonly<Record<string, Spread>>
  /** How many times as long as `base` the case `name` takes, compared round by round. */
  ratio(name: string, base: string): Spread
  /**
   * How many times as much `name` adds to `base` as `over` adds to it, compared round by round: for
   * costs that are only seen on top of something else.
   */
  added(name: string, over: string, base: string): Spread
  /** A plain text table; every case is compared with the first. */
  readonly table: string
}

type Slice = (operations: number) => unknown

interface Contender {
  readonly name: string
  readonly slice: Slice
  operations: number
  readonly nanoseconds: number[]
}

/** Nanoseconds since some moment. */
const clocks = {
  wall: () => performance.now() * 1e6,
  cpu() {
    const { user, system } = process.cpuUsage()
    return (user + system) * 1e3
  },
}

/** Keeps what the cases return, so that the compiler cannot optimise the work away. */
const kept: { last: unknown } = { last: undefined }

/**
 * Measures the cases: a warm-up that also finds how many operations fill `minMs`, then rounds in
 * which each case runs one slice, a different one first each time.
 *
 * @throws Error there is no case, or a case throws.
 */
export async function pairedBench(settings: BenchSettings): Promise<BenchResult> {
  const { rounds = 11, minMs = 50, time = 'wall', cases } = settings
  const now = typeof time === 'function' ? time : clocks[time]
  const contenders: Contender[] = []
  for (const [name, body] of Object.entries(cases)) {
    const first = body()
    const slice = isThenable(first) ? asyncSlice(body) : syncSlice(body, name)
    await first
    contenders.push({ name, slice, operations: 1, nanoseconds: [] })
  }
  if (contenders.length === 0) throw new Error('a benchmark needs a case')
  for (const contender of contenders) await warmUp(contender, minMs * 1e6, now)
  for (let round = 0; round < rounds; round++) {
    for (let turn = 0; turn < contenders.length; turn++) {
      const { slice, operations, nanoseconds } = contenders[(round + turn) % contenders.length]!
      nanoseconds.push((await measure(slice, operations, now)) / operations)
    }
  }
  const kind = typeof time === 'function' ? 'given' : time
  const heading = `node ${process.version}, ${rounds} rounds of ${minMs} ms, ${kind} time`
  return summarise(contenders, heading)
}

/**
 * Prints `goal <name> <measured> <bound> ok|short` and returns whether the goal is met.
 *
 * @param name without blanks.
 * @param direction which side of the bound is good. @default 'at-most'
 */
export function goal(
  name: string,
  measured: number,
  bound: number,
  direction: 'at-most' | 'at-least' = 'at-most',
): boolean {
  if (name === '' || /\s/.test(name)) throw new Error(`a goal's name has no blanks: "${name}"`)
  const met = direction === 'at-most' ? measured <= bound : measured >= bound
  process.stdout.write(`goal ${name} ${short(measured)} ${bound} ${met ? 'ok' : 'short'}\n`)
  return met
}

async function warmUp(contender: Contender, minNs: number, now: () => number): Promise<void> {
  // By the second time the code is compiled, so the count is that of its full speed.
  for (const factor of [0.5, 1]) {
    for (;;) {
      const taken = await measure(contender.slice, contender.operations, now)
      if (taken >= minNs * factor) break
      const wanted = (contender.operations * minNs * factor * 1.05) / Math.max(taken, 1)
      const most = contender.operations * 16
      contender.operations = Math.ceil(Math.min(Math.max(wanted, contender.operations + 1), most))
    }
  }
}

async function measure(slice: Slice, operations: number, now: () => number): Promise<number> {
  const start = now()
  const result = slice(operations)
  // A slice without promises must not include a turn of the event loop.
  kept.last = result instanceof Promise ? await result : result
  return now() - start
}

/**
 * Compiles a loop for one case only: in a shared loop, every other case and their order would slow
 * the call of the body.
 */
function syncSlice(body: () => unknown, name: string): Slice {
  const source = `let last; for (let i = 0; i < operations; i++) last = body(); return last`
  // oxlint-disable-next-line typescript/no-implied-eval, no-new-func -- the text is a constant of this file
  const loop = new Function('body', 'operations', `${source} // ${JSON.stringify(name)}`) as (
    body: () => unknown,
    operations: number,
  ) => unknown
  return (operations) => [loop(body, operations)]
}

function asyncSlice(body: () => unknown): Slice {
  return async (operations) => {
    let last: unknown
    for (let i = 0; i < operations; i++) last = await body()
    return last
  }
}

function summarise(contenders: readonly Contender[], heading: string): BenchResult {
  const measured = new Map(contenders.map(({ name, nanoseconds }) => [name, nanoseconds]))
  const roundsOf = (name: string) => {
    const rounds = measured.get(name)
    if (rounds === undefined) throw new Error(`no case is named "${name}"`)
    return rounds
  }
  const ratio = (name: string, base: string) => {
    const bases = roundsOf(base)
    return spreadOf(roundsOf(name).map((value, round) => value / bases[round]!))
  }
  const added = (name: string, over: string, base: string) => {
    const [bases, overs] = [roundsOf(base), roundsOf(over)]
    return spreadOf(
      roundsOf(name).map(
        (value, round) => (value - bases[round]!) / (overs[round]! - bases[round]!),
      ),
    )
  }
  const first = contenders[0]!.name
  const rows = [['case', 'ns/op', 'min..max', `ratio to ${first}`, 'min..max']]
  for (const { name, nanoseconds } of contenders) {
    rows.push([name, ...cells(spreadOf(nanoseconds)), ...cells(ratio(name, first))])
  }
  return {
    cases: Object.fromEntries(contenders.map((each) => [each.name, spreadOf(each.nanoseconds)])),
    ratio,
    added,
    table: `${heading}\n${layOut(rows)}\n`,
  }
}

function layOut(rows: readonly (readonly string[])[]): string {
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map((row) => row[column]!.length)))
  return rows
    .map((row) => row.map((cell, column) => cell.padEnd(widths[column]!)).join('  '))
    .map((line) => line.trimEnd())
    .join('\n')
}

function spreadOf(values: readonly number[]): Spread {
  const sorted = values.toSorted((a, b) => a - b)
  const middle = Math.floor(sorted.length / 2)
  const median =
    sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2
  return { median, min: sorted[0]!, max: sorted.at(-1)! }
}

function cells({ median, min, max }: Spread): string[] {
  return [short(median), `${short(min)}..${short(max)}`]
}

function short(value: number): string {
  return String(Number(value.toPrecision(4)))
}

/** Some libraries return a thenable that is not a Promise and starts its work when it is awaited. */
function isThenable(value: unknown): boolean {
  return typeof (value as { then?: unknown } | null | undefined)?.then === 'function'
}
