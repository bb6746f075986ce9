/** Texts of errors and actions, as they are stored. */

/** The longest text of an error or a result. */
export const MAX_SUMMARY = 500

/** PostgreSQL stores no U+0000. */
export function cleanText(text: string, max: number): string {
  return text.replaceAll('\0', '').slice(0, max).toWellFormed()
}

/** Name or code, and message. */
export function describe(error: unknown): string {
  const { code, message } = (error ?? {}) as { readonly code?: unknown; readonly message?: unknown }
  const name = typeof code === 'string' ? `${code}: ` : ''
  const text = typeof message === 'string' ? message : String(error)
  return cleanText(name + text, MAX_SUMMARY)
}
