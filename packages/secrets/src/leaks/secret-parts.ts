/** The parts of a secret that are secret by themselves: a password in a URL, a line of a private key. */

/** Upper bounds: a secret is searched in every reply. */
const MOST_PARTS = 64
const SHORTEST_LINE = 16
const DEEPEST = 3
const SECRET_MEMBER = /pass|pwd|secret|token|key|credential/i
/** A word of a language with few digits, such as "password1": it appears in pages by itself. */
const WORD = /^[A-Za-z][a-z]{0,11}\d{0,2}$/

/** The value and its parts; without those that appear in texts by chance. */
export function secretParts(value: string): string[] {
  const parts = [value, ...urlParts(value), ...jsonParts(value), ...pemParts(value)]
  return parts.slice(0, MOST_PARTS).filter((part) => !WORD.test(part))
}

function urlParts(value: string): string[] {
  if (!/^[a-z][a-z0-9+.-]*:\/\/[^/?#]*@/i.test(value) || !URL.canParse(value)) return []
  const { password } = new URL(value)
  try {
    return password === '' ? [] : [password, decodeURIComponent(password)]
  } catch {
    return [password]
  }
}

function jsonParts(value: string): string[] {
  if (!value.startsWith('{')) return []
  const found: string[] = []
  const look = (object: object, depth: number): void => {
    for (const [name, member] of Object.entries(object) as [string, unknown][]) {
      if (typeof member === 'string' && SECRET_MEMBER.test(name))
        found.push(member, ...pemParts(member))
      else if (typeof member === 'object' && member !== null && depth < DEEPEST)
        look(member, depth + 1)
    }
  }
  try {
    look(JSON.parse(value) as object, 1)
  } catch {
    return []
  }
  return found
}

/** The key with the other line end, and each of its lines. */
function pemParts(value: string): string[] {
  if (!/-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----/.test(value)) return []
  const lines = value.split(/\r?\n/)
  const keys = lines.filter((line) => line.length >= SHORTEST_LINE && !line.startsWith('-----'))
  return [lines.join('\n'), lines.join('\r\n'), ...keys]
}
