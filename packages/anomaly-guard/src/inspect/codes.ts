/**
 * Texts as arrays of code units. A loop over `charCodeAt` takes twice as long once any library in the
 * process has subclassed `String`, as some clients of databases do; a loop over an array does not.
 */

/** Larger texts get an array of their own, which is not kept. */
const KEPT = 65_536

/** Copies texts into one array. */
export type CodesOf = (text: string) => Uint16Array

/**
 * @returns a function that copies a text into an array of at least its length, which is reused by the
 *   next call.
 */
export function createCodesOf(): CodesOf {
  let scratch = Buffer.alloc(2 * 1024)
  let codes = viewOf(scratch)
  return (text) => {
    if (text.length > codes.length) {
      const larger = Buffer.alloc(2 * Math.max(text.length, 2 * codes.length))
      if (text.length > KEPT) {
        larger.write(text, 'utf16le')
        return viewOf(larger)
      }
      scratch = larger
      codes = viewOf(larger)
    }
    scratch.write(text, 'utf16le')
    return codes
  }
}

function viewOf(buffer: Buffer): Uint16Array {
  return new Uint16Array(buffer.buffer, buffer.byteOffset, buffer.length / 2)
}
