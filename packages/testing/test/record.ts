import type { TestContext } from '@parapet/testing'

/** A test context that writes down what a helper says, so that its failures can be tested. */
export function record(): { inner: TestContext; log: string[] } {
  const log: string[] = []
  const inner: TestContext = {
    pass: (...[message, extra]) =>
      log.push(extra === undefined ? `pass ${message}` : `skip ${extra.skip}`),
    fail: (message) => log.push(`fail ${message}`),
    teardown: () => log.push('teardown'),
  }
  return { inner, log }
}
