/** The spellings in which a secret leaves a service: escaped, encoded, or in parts. */
import { secretParts } from './secret-parts.ts'

/** Lists the spellings of a value and of its parts that are secret by themselves, without repetitions. */
export function spellingsOf(value: string): string[] {
  const spellings = new Set<string>()
  for (const part of secretParts(value)) {
    for (const spelling of [...escaped(part), ...encoded(part)]) spellings.add(spelling)
  }
  return [...spellings]
}

const inJson = (text: string): string => JSON.stringify(text).slice(1, -1)

function escaped(value: string): string[] {
  const json = inJson(value)
  const twice = inJson(json)
  const ascii = json.replaceAll(
    /[\u007f-\uffff]/g,
    (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`,
  )
  const html = value.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;')
  const quoted = html.replaceAll('"', '&quot;')
  const url = percentEncoded(value)
  return [
    value,
    json,
    twice,
    inJson(twice),
    json.replaceAll('/', '\\/'),
    ascii,
    inJson(ascii),
    ascii.replaceAll(/\\u[\da-f]{4}/g, (escape) => `\\u${escape.slice(2).toUpperCase()}`),
    html,
    quoted,
    quoted.replaceAll("'", '&#39;'),
    quoted.replaceAll("'", '&#x27;'),
    html.replaceAll('"', '&#34;').replaceAll("'", '&#39;'),
    ...url,
    ...url.map((text) => text.replaceAll(/%[\dA-F]{2}/g, (escape) => escape.toLowerCase())),
  ]
}

function percentEncoded(value: string): string[] {
  // A half of a surrogate pair cannot be encoded.
  const text = value.toWellFormed()
  return [
    encodeURIComponent(text),
    encodeURI(text),
    new URLSearchParams({ '': value }).toString().slice(1),
  ]
}

function encoded(value: string): string[] {
  const bytes = Buffer.from(value, 'utf8')
  const hex = bytes.toString('hex')
  const colons = hex.replaceAll(/..(?=.)/g, '$&:')
  const base64 = bytes.toString('base64')
  const wide = Buffer.from(value, 'utf16le')
  return [
    hex,
    hex.toUpperCase(),
    colons,
    colons.toUpperCase(),
    // As JSON shows a buffer.
    bytes.join(','),
    // As a buffer is searched: one character for each byte.
    bytes.toString('latin1'),
    wide.toString('latin1'),
    Buffer.from(wide).swap16().toString('latin1'),
    // The first line, as MIME (76) and PEM (64) fold base64.
    base64.length > FOLD ? base64.slice(0, FOLD) : base64.replace(/=+$/, ''),
    ...base64Cores(bytes).flatMap(inBothAlphabets),
    ...base64Cores(Buffer.from(base64)),
  ]
}

const FOLD = 64

function inBothAlphabets(text: string): string[] {
  return [text, text.replaceAll('+', '-').replaceAll('/', '_')]
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
