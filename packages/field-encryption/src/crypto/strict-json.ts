/**
 * JSON that means the same to every reader: `JSON.parse` keeps the last of two members with one name,
 * while other parsers keep the first or refuse.
 *
 * @see RFC 8259, section 4; RFC 4648, section 3.5
 */

/** Strings and brackets; whatever is between them cannot change which object a name belongs to. */
const TOKENS = /"(?:[^"\\]|\\.)*"|[{}[\]:]/g

/** Whether valid JSON has an object with two members of the same name. */
export function hasDuplicateNames(json: string): boolean {
  const open: (Set<string> | null)[] = []
  let text = ''
  for (const [token] of json.matchAll(TOKENS)) {
    if (token === '{') open.push(new Set())
    else if (token === '[') open.push(null)
    else if (token === '}' || token === ']') open.pop()
    else if (token !== ':') text = token
    else {
      // Escapes are resolved: "a" and "\u0061" are one name.
      const name = JSON.parse(text) as string
      const names = open.at(-1)
      if (names?.has(name) === true) return true
      names?.add(name)
    }
  }
  return false
}

/** Reads base64 in its only canonical form; `undefined` if there are foreign characters or bits. */
export function decodeBase64(text: string): Buffer | undefined {
  const bytes = Buffer.from(text, 'base64')
  return bytes.toString('base64') === text ? bytes : undefined
}
