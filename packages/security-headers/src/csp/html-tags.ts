/** Finds the tags of an HTML file that load or contain code. */

/** One start tag, and the text up to its end tag. */
export interface Tag {
  readonly name: 'script' | 'style' | 'link'
  /** The index of `<`. */
  readonly start: number
  /** The index behind `>`. */
  readonly end: number
  /** Values by lower-case name; `''` for an attribute without a value. */
  readonly attributes: ReadonlyMap<string, string>
  /** The text of a script or style; `''` for a link. */
  readonly code: string
}

const ATTRIBUTE = /([^\s"'<>/=]+)(?:\s*=\s*(?:"([^"]*)"|'([^']*)'|([^\s"'=<>`]+)))?/g

/** Scans from tag to tag with `indexOf`, in linear time. Comments are left out. */
export function findTags(html: string): Tag[] {
  const lower = html.toLowerCase()
  const tags: Tag[] = []
  for (let at = lower.indexOf('<'); at !== -1; at = lower.indexOf('<', at)) {
    if (lower.startsWith('<!--', at)) {
      const end = lower.indexOf('-->', at + 4)
      if (end === -1) break
      at = end + 3
      continue
    }
    const name = nameAt(lower, at)
    const close = name === null ? -1 : endOfTag(lower, at + 1)
    if (name === null || close === -1) {
      at++
      continue
    }
    const codeEnd = name === 'link' ? close + 1 : lower.indexOf(`</${name}`, close)
    if (codeEnd === -1) break
    tags.push({
      name,
      start: at,
      end: close + 1,
      attributes: attributesOf(html.slice(at + name.length + 1, close)),
      code: html.slice(close + 1, codeEnd),
    })
    at = codeEnd
  }
  return tags
}

const NAMES = ['script', 'style', 'link'] as const

function nameAt(lower: string, at: number): Tag['name'] | null {
  const name = NAMES.find((each) => lower.startsWith(each, at + 1))
  return name !== undefined && /[\s/>]/.test(lower[at + 1 + name.length] ?? '') ? name : null
}

/** The index of the `>` that ends a tag; a quoted attribute value may contain `>` as well. */
function endOfTag(html: string, start: number): number {
  let quote = ''
  for (let at = start; at < html.length; at++) {
    const char = html[at]!
    if (quote !== '') quote = char === quote ? '' : quote
    else if (char === '>') return at
    else if (char === '"' || char === "'") quote = char
  }
  return -1
}

function attributesOf(text: string): ReadonlyMap<string, string> {
  const found = [...text.matchAll(ATTRIBUTE)].map(([, name = '', double, single, bare]) => {
    const value = double ?? single ?? bare ?? ''
    return [name.toLowerCase(), value.replaceAll('&amp;', '&')] as const
  })
  // Browsers use the first of two attributes of one name.
  return new Map(found.toReversed())
}
