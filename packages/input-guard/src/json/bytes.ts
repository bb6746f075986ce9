/** Reads bytes of a text. */

/** The position of a byte, or the length of the text. */
export function positionOf(bytes: Buffer, byte: number, from: number): number {
  const found = bytes.indexOf(byte, from)
  return found === -1 ? bytes.length : found
}

/** The value of four hexadecimal digits; 1 if they are none, which the parser refuses. */
export function readUnit(bytes: Buffer, at: number): number {
  let unit = 0
  for (let index = at; index < at + 4; index++) {
    const byte = bytes[index] ?? 0
    const lower = byte | 0x20
    if (byte >= 0x30 && byte <= 0x39) unit = unit * 16 + byte - 0x30
    else if (lower >= 0x61 && lower <= 0x66) unit = unit * 16 + lower - 0x57
    else return 1
  }
  return unit
}
