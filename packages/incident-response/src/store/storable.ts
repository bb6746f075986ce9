/** What PostgreSQL stores: it has no U+0000, neither in text nor in jsonb, and a lone surrogate is no text. */

/** Whether a text can be stored, and so can be found. */
export function isStorable(text: string): boolean {
  return !text.includes('\0') && text.isWellFormed()
}

/** JSON in which what cannot be stored is replaced: an action's result must not make its write fail for ever. */
export function storableJson(value: unknown): string {
  const text = JSON.stringify(value)
  return ODD.test(text) ? JSON.stringify(value, cleaned) : text
}

/** `JSON.stringify` escapes both. A text that contains the escape itself is cleaned in vain, and stays as it is. */
const ODD = /\\u(?:0000|d[89a-f])/

function cleaned(_key: string, value: unknown): unknown {
  if (typeof value === 'string') return clean(value)
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return value
  return Object.fromEntries(Object.entries(value).map(([name, each]) => [clean(name), each]))
}

function clean(text: string): string {
  return text.replaceAll('\0', '\u{FFFD}').toWellFormed()
}
