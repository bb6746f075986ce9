/** Splits the first bytes off a stream. */

/** The rest of a stream. Call `return` to close the source if it is not read to its end. */
export type Rest = AsyncIterableIterator<Uint8Array> & {
  return(): Promise<IteratorResult<Uint8Array>>
}

/** Reads the first `size` bytes of a stream, or fewer if it is shorter. */
export async function takeHead(
  source: AsyncIterable<Uint8Array>,
  size: number,
): Promise<{ head: Buffer; rest: Rest }> {
  const iterator = source[Symbol.asyncIterator]()
  const pieces: Uint8Array[] = []
  let length = 0
  while (length < size) {
    const next = await iterator.next()
    if (next.done === true) break
    pieces.push(next.value)
    length += next.value.length
  }
  const bytes = Buffer.concat(pieces)
  let spare = bytes.length > size ? bytes.subarray(size) : undefined
  // Not a generator: `return` of a generator that was never started would not close the source.
  const rest: Rest = {
    [Symbol.asyncIterator]: () => rest,
    async next() {
      const value = spare
      spare = undefined
      return value === undefined ? iterator.next() : { done: false, value }
    },
    async return() {
      await iterator.return?.()
      return { done: true, value: undefined }
    },
  }
  return { head: bytes.subarray(0, size), rest }
}

/** Reads a whole stream into one buffer. */
export async function collect(source: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const pieces: Uint8Array[] = []
  for await (const piece of source) pieces.push(piece)
  return Buffer.concat(pieces)
}
