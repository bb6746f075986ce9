/** The part of a tap test that this package uses, and how a missing service is told. */

/** What the helpers need of a test; tap's own test object fits. */
export interface TestContext {
  pass(...args: [message: string] | [message: string, extra: { skip: string }]): unknown
  fail(message: string): unknown
  /** Runs after the test; the last one registered runs first. */
  teardown(handler: () => Promise<void>): unknown
}

/**
 * Says that a test cannot run because a service is missing: a skip that the summary counts, or a
 * failure where `PARAPET_REQUIRE_SERVICES=1` promises that every service is there.
 *
 * @returns `null`, which the helper hands on, so that the test can end.
 */
export function missService(t: TestContext, service: string, reason: string): null {
  const message = `no ${service}: ${reason}`
  if (process.env['PARAPET_REQUIRE_SERVICES'] === '1') t.fail(message)
  else t.pass(`needs ${service}`, { skip: message })
  return null
}
