/** A pool of connections whose address and password can be replaced while it is used. */
import type { PgPoolLike } from '@parapet/kit'
import type { Pool } from 'pg'

/** The pool in use, and how it is replaced. */
export interface SwappablePool extends PgPoolLike {
  /**
   * Uses another pool for all further statements, once it has answered one. Statements that run end on
   * their own connection.
   */
  swap(connectionString: string): Promise<void>
  end(): Promise<void>
}

/** @param onError gets the error of a former pool that could not be closed. */
export function createSwappablePool(
  connectionString: string,
  open: (connectionString: string) => Pool,
  onError: (error: unknown) => void,
): SwappablePool {
  let pool = open(connectionString)
  const closing = new Set<Promise<void>>()
  return {
    query: (text, values) => pool.query(text, values),
    connect: () => pool.connect(),
    async swap(next) {
      const replacement = open(next)
      try {
        await replacement.query('SELECT 1')
      } catch (error) {
        await replacement.end()
        throw error
      }
      const former = pool
      pool = replacement
      const ending = former
        .end()
        .catch(onError)
        .finally(() => closing.delete(ending))
      closing.add(ending)
    },
    async end() {
      await pool.end()
      await Promise.all(closing)
    },
  }
}
