/** The length of a long test: a sample each time, its full length under `pnpm soak`. */

/**
 * The number of runs, schedules or points of a long test.
 *
 * @param sample the number in every test run; it should take seconds.
 * @param full the number under `PARAPET_SOAK=1`, as the package promises.
 */
export function runs(sample: number, full: number): number {
  return process.env['PARAPET_SOAK'] === '1' ? full : sample
}
