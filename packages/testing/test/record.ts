import type { TestContext } from '@parapet/testing'

/** Creates a test context that records what a helper reports, so that its failures can be tested. */
export function record(): { inner: TestContext; log: string[] } {
  const log: string[] = []
  const inner: TestContext = {
    pass: (...[message, extra]) =>
      log.push(extra === undefined ? `pass ${message}` : `skip ${extra.skip}`),
    fail: (message) => log.push(`fail ${message}`),
    after: () => log.push('after'),
  }
  return { inner, log }
}
