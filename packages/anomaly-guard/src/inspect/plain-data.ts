/** What of a parsed body is data. Streams, sockets and other live objects are left alone. */
import { isUtf8 } from 'node:buffer'
import { isStringObject } from 'node:util/types'

/** Of a text in bytes, only the beginning and the end are looked at. */
const MAX_BYTES = 65_536
// oxlint-disable-next-line no-control-regex -- a text has none of these
const BINARY = /[\0-\x08\x0e-\x1a\x1c-\x1f]/

/** Objects as a parser makes them: of no class, or with a bare prototype of its own. */
export function isPlainObject(value: object): value is Readonly<Record<string, unknown>> {
  const prototype: unknown = Object.getPrototypeOf(value)
  return prototype === null || Object.getPrototypeOf(prototype) === null
}

/** The names and values of a collection; a set has values only. */
export function entriesOf(value: object): Iterable<readonly [unknown, unknown]> | undefined {
  if (value instanceof Map || value instanceof URLSearchParams || value instanceof FormData)
    return value
  if (value instanceof Set) return Array.from(value, (item) => ['', item] as const)
  return undefined
}

/** The text that bytes or an object of a string hold; `undefined` for anything else, such as a picture. */
export function textOf(value: object): string | undefined {
  if (isStringObject(value)) return String(value)
  const bytes = bytesOf(value)
  if (bytes === undefined) return undefined
  const mark = bytes.length < 2 ? 0 : bytes.readUInt16BE(0)
  const isUtf16 = mark === 0xfffe || mark === 0xfeff
  const text = isUtf16 ? utf16Of(bytes) : isUtf8(bytes) ? bytes.toString() : undefined
  return text === undefined || BINARY.test(text) ? undefined : text
}

function bytesOf(value: object): Buffer | undefined {
  const view = ArrayBuffer.isView(value)
  if (!view && !(value instanceof ArrayBuffer)) return undefined
  const whole = view
    ? Buffer.from(value.buffer, value.byteOffset, value.byteLength)
    : Buffer.from(value)
  if (whole.length <= MAX_BYTES) return whole
  const half = MAX_BYTES / 2
  return Buffer.concat([fit(whole.subarray(0, half)), fit(whole.subarray(-half))])
}

/** Without the pieces of characters at the cuts. */
function fit(bytes: Buffer): Buffer {
  let [from, to] = [0, bytes.length]
  while (from < 3 && (bytes[from]! & 0xc0) === 0x80) from++
  for (let back = 1; back <= 3; back++) {
    const byte = bytes[to - back]!
    if ((byte & 0xc0) === 0x80) continue
    if (byte >= 0xc0) to -= back
    break
  }
  return bytes.subarray(from, to)
}

/** With a mark of its order of bytes, as XML may be. */
function utf16Of(bytes: Buffer): string {
  const even = bytes.subarray(0, bytes.length - (bytes.length % 2))
  return (even[0] === 0xff ? even : Buffer.from(even).swap16()).toString('utf16le')
}
