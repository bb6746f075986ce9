/** Ends a response body that is larger than allowed. */
import { PARAPET_INPUT_GUARD_FETCH_FAILED } from '../errors.ts'

/**
 * @param done runs once when the body has ended, failed or was cancelled
 * @param toKnown makes the error that the reader gets
 */
export function limitBody(
  body: ReadableStream<Uint8Array>,
  maxBytes: number,
  done: () => void,
  toKnown: (error: unknown) => unknown,
): ReadableStream<Uint8Array> {
  const reader = body.getReader()
  let bytes = 0
  return new ReadableStream<Uint8Array>({
    async pull(controller) {
      try {
        const { done: isEnd, value } = await reader.read()
        if (isEnd) {
          controller.close()
          done()
          return
        }
        bytes += value.byteLength
        if (bytes > maxBytes) {
          void reader.cancel().catch(() => {})
          throw new PARAPET_INPUT_GUARD_FETCH_FAILED('the response is too large')
        }
        controller.enqueue(value)
      } catch (error) {
        done()
        controller.error(toKnown(error))
      }
    },
    async cancel(reason) {
      done()
      await reader.cancel(reason)
    },
  })
}
