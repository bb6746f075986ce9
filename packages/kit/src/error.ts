/**
 * Makes kit's errors in the shape of `@fastify/error` (`code`, `statusCode`, `%s` in the message, a
 * trailing `{ cause }`), so that Fastify handles them like its own. Plugins use `@fastify/error`
 * itself; kit imports nothing but `node:`.
 */
import { format } from 'node:util'

/** An error with a stable code and an HTTP status. */
export interface CodedError extends Error {
  readonly code: string
  readonly statusCode: number
}

/** A class of {@link CodedError}. The last argument may be `{ cause }`; the others fill the `%s` of the message. */
export interface CodedErrorConstructor {
  new (...args: unknown[]): CodedError
  readonly prototype: CodedError
}

/**
 * Makes an error class.
 *
 * @param code `PARAPET_<PACKAGE>_<WHAT>`; the exported constant carries the same name.
 * @param message the public text, with `%s` for each argument. It never varies with a secret.
 * @param statusCode 400 malformed, 401 unauthenticated, 403 forbidden, 409 replayed, 423 contained,
 *   429 too many, 500 misuse, 503 dependency down. @default 500
 */
export function createError(
  code: string,
  message: string,
  statusCode = 500,
): CodedErrorConstructor {
  return class extends Error implements CodedError {
    readonly code = code
    readonly statusCode = statusCode

    constructor(...args: unknown[]) {
      const last = args.at(-1)
      const hasCause = typeof last === 'object' && last !== null && 'cause' in last
      super(
        format(message, ...(hasCause ? args.slice(0, -1) : args)),
        hasCause ? { cause: last.cause } : undefined,
      )
      this.name = 'ParapetError'
    }
  }
}

/**
 * Replaces what `work` throws, unless it is an error of this family: messages of others may name hosts and values.
 *
 * @param replace makes the error that callers get.
 */
export async function replaceForeignErrors<T>(
  work: () => Promise<T>,
  replace: (cause: unknown) => Error,
): Promise<T> {
  try {
    return await work()
  } catch (error) {
    const { code } = (error ?? {}) as { readonly code?: unknown }
    throw typeof code === 'string' && code.startsWith('PARAPET_') ? error : replace(error)
  }
}
