/** The part of a tap test that this package uses. */

/** What the helpers need of a test; tap's own test object fits. */
export interface TestContext {
  pass(...args: [message: string] | [message: string, extra: { skip: string }]): unknown
  fail(message: string): unknown
  /** Runs after the test; the last one registered runs first. */
  after(handler: () => Promise<void>): unknown
}

/**
 * Reports that a test cannot run because a service is missing: a skip that the summary counts, or a
 * failure under `PARAPET_REQUIRE_SERVICES=1`.
 *
 * @returns `null`, which the helper returns as well, so that the test can end.
 */
export function missService(t: TestContext, service: string, reason: string): null {
  const message = `no ${service}: ${reason}`
  if (process.env['PARAPET_REQUIRE_SERVICES'] === '1') t.fail(message)
  else t.pass(`needs ${service}`, { skip: message })
  return null
}

/** Passes with the promise, or fails once for each fault. */
export function report(t: TestContext, promise: string, faults: readonly string[]): void {
  if (faults.length === 0) t.pass(promise)
  for (const fault of faults) t.fail(fault)
}
