/** Read, change, compare-and-set: the loop that every optimistic update needs. */
import type { Store } from './store.ts'

/** Returned by an attempt that lost against another writer. */
export const conflict: unique symbol = Symbol('conflict')

/** In every round of attempts at least one writer succeeds, so this many writers may compete. */
const MAX_ATTEMPTS = 64

/**
 * Repeats an attempt until it does not conflict with another writer.
 *
 * @param attempt reads, changes and conditionally writes; returns {@link conflict} when another
 *   writer was first. What it throws ends the loop.
 * @param exhausted makes the error for 64 conflicts in a row.
 */
export async function retryConflicts<T>(
  attempt: () => Promise<T | typeof conflict>,
  exhausted: () => Error,
): Promise<T> {
  for (let attempts = 0; attempts < MAX_ATTEMPTS; attempts++) {
    const result = await attempt()
    if (result !== conflict) return result
  }
  throw exhausted()
}

/** What an edit decides: nothing to write, or the next text (`null` deletes) with its lifetime. */
export type TextEdit<T> =
  | { readonly result: T; readonly next?: undefined }
  | { readonly result: T; readonly next: string | null; readonly ttlMs: number }

/**
 * Edits the text at a key, as if no other writer existed.
 *
 * @param edit pure: it may run several times. It gets `null` where the key is absent.
 * @param exhausted makes the error for 64 conflicts in a row.
 */
export function updateText<T>(
  store: Pick<Store, 'get' | 'compareAndSet'>,
  key: string,
  edit: (text: string | null) => TextEdit<T>,
  exhausted: () => Error,
): Promise<T> {
  return retryConflicts<T>(async () => {
    const text = await store.get(key)
    const edited = edit(text)
    if (edited.next === undefined) return edited.result
    const won = await store.compareAndSet(key, text, edited.next, edited.ttlMs)
    return won ? edited.result : conflict
  }, exhausted)
}
