/** The spellings in which a secret leaves a service: as it is, escaped in JSON, base64, hex, URL-encoded. */

/** Lists the spellings of a value, without repetitions. */
export function spellingsOf(value: string): string[] {
  const bytes = Buffer.from(value, 'utf8')
  const spellings = new Set([
    value,
    JSON.stringify(value).slice(1, -1),
    encodeURIComponent(value),
    new URLSearchParams({ '': value }).toString().slice(1),
    bytes.toString('hex'),
    bytes.toString('hex').toUpperCase(),
  ])
  for (const text of base64Cores(bytes)) {
    spellings.add(text)
    spellings.add(text.replaceAll('+', '-').replaceAll('/', '_'))
  }
  return [...spellings]
}

/**
 * What base64 makes of the bytes wherever they start in a longer text: their first and last characters
 * depend on their neighbours and are left out.
 */
function base64Cores(bytes: Buffer): string[] {
  return [0, 1, 2].map((offset) => {
    const text = Buffer.concat([Buffer.alloc(offset), bytes])
      .toString('base64')
      .replace(/=+$/, '')
    const first = Math.ceil((offset * 8) / 6)
    const whole = Math.floor(((offset + bytes.length) * 8) / 6)
    return text.slice(first, whole)
  })
}
