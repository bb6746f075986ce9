/** Control characters, and characters that change the direction or the lines of a text. */

/** JSON escapes U+0000 to U+001F itself, and nothing of these. */
const CONTROLS = /[\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]/g
const ALL_CONTROLS =
  // oxlint-disable-next-line no-control-regex -- these are what is replaced
  /[\u0000-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]/g

/**
 * Escapes them in a JSON text, which keeps its value: a receiver that splits lines at U+0085 or
 * U+2028, or a terminal that obeys U+009B, sees plain text.
 */
export function escapeJson(json: string): string {
  return json.replace(CONTROLS, escaped)
}

/** Replaces them in a text by their escapes. */
export function escapeText(text: string): string {
  return text.replace(ALL_CONTROLS, escaped)
}

/** Replaces them in every text of a JSON value. */
export function escapeValue(value: unknown): unknown {
  if (typeof value === 'string') return escapeText(value)
  if (Array.isArray(value)) return value.map(escapeValue)
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(
    Object.entries(value).map(([name, member]) => [escapeText(name), escapeValue(member)]),
  )
}

function escaped(character: string): string {
  return `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`
}
