/** Fields that hold base64: as lines, with blanks, as a data URL, or in base64 again. */

const MAX_ROUNDS = 3
const PREFIX = /^\s?data:[^,]{0,200};base64,/i
const BASE64 = /^[\w+/-]{8,}={0,2}$/

/** The texts that a value holds, from the outermost to the innermost. */
export function decodeBase64(value: string): string[] {
  const texts: string[] = []
  let text = value
  for (let round = 0; round < MAX_ROUNDS; round++) {
    const plain = text.replace(PREFIX, '').replaceAll(/\s/g, '')
    if (!BASE64.test(plain)) break
    text = Buffer.from(plain, 'base64').toString('latin1')
    texts.push(text)
  }
  return texts
}
