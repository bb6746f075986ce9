/** The inline script of Scalar, which shows API documentation. */
import { findTags } from './html-tags.ts'
import { hashSource } from './inline-hashes.ts'

const CALL = /^\s*Scalar\.createApiReference\('#app',\s*(\{[^]*\})\s*\);?\s*$/
/** Longer pages are not searched. */
const MAX_LENGTH = 1_048_576

/**
 * Hash sources for the script that starts Scalar: one call whose argument is JSON. JSON cannot run
 * code, so an injected script of this form can do no more than the page itself.
 */
export function scalarSources(html: string): string[] {
  if (html.length > MAX_LENGTH || !html.includes('Scalar.createApiReference(')) return []
  return findTags(html)
    .filter(
      ({ name, attributes, code }) => name === 'script' && !attributes.has('src') && isCall(code),
    )
    .map(({ code }) => hashSource(code.replaceAll(/\r\n?/g, '\n')))
}

function isCall(code: string): boolean {
  const json = CALL.exec(code)?.[1]
  if (json === undefined) return false
  try {
    JSON.parse(json)
    return true
  } catch {
    return false
  }
}
