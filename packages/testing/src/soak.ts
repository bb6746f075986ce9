/** How long a proof runs: a sample each time, the whole of it under `pnpm soak`. */

/**
 * The number of runs, schedules or points of a long proof.
 *
 * @param sample what every test run does: real, and a matter of seconds.
 * @param full what `PARAPET_SOAK=1` does, as the package promises.
 */
export function runs(sample: number, full: number): number {
  return process.env['PARAPET_SOAK'] === '1' ? full : sample
}
