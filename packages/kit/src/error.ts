/**
 * How kit makes its errors: the shape of `@fastify/error` (`code`, `statusCode`, `%s` in the
 * message, a trailing `{ cause }`), so that Fastify answers them as it answers its own. Plugins
 * use `@fastify/error` itself; kit, which imports nothing but `node:`, has these few lines.
 */
import { format } from 'node:util'

/** An error with a stable code and the HTTP status it deserves. */
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
 * Makes one class of error.
 *
 * @param code `PARAPET_<PACKAGE>_<WHAT>`; the exported constant carries the same name.
 * @param message the public text, with `%s` where an argument goes. It never varies with a secret.
 * @param statusCode 400 malformed, 401 who are you, 403 no, 409 replay, 423 contained, 429 slow
 *   down, 500 misuse, 503 dependency down. @default 500
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
