/** Callbacks of the app must neither fail a request nor end the process. */

/** What a callback returns; `undefined`: it threw, or it is asynchronous, which is too late for a decision. */
export function attempt<T>(read: () => T): T | undefined {
  try {
    const value = read()
    if (!isThenable(value)) return value
    // Nobody waits for it, so a rejection would end the process.
    Promise.resolve(value).catch(() => {})
    return undefined
  } catch {
    return undefined
  }
}

/** Whether a value is a promise, or behaves like one. */
export function isThenable(value: unknown): value is PromiseLike<unknown> {
  const isObject = (typeof value === 'object' && value !== null) || typeof value === 'function'
  return isObject && typeof (value as { readonly then?: unknown }).then === 'function'
}
