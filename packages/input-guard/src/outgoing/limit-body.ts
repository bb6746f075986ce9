/** Ends a response body that is larger than allowed. */
import { PARAPET_INPUT_GUARD_FETCH_FAILED } from '../errors.ts'

/** @param done runs once when the body has ended, failed or was cancelled */
export function limitBody(
  body: ReadableStream<Uint8Array>,
  maxBytes: number,
  done: () => void,
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
        controller.error(error)
      }
    },
    async cancel(reason) {
      done()
      await reader.cancel(reason)
    },
  })
}
