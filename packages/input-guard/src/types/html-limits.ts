/**
 * How much an HTML text asks of an engine, found out before an engine reads it: the time of an engine grows with
 * the number of tags, attributes and character references, and with the depth of elements.
 */

/** A comment, which ends where any parser would end it, or a tag. */
const TAG = /<!--(?:-?>|[^]*?(?:--!?>|$))|<(\/?)([a-z][^\s/>]*)[^<>]*>/gi
const VOID = new Set(
  'area base br col embed hr img input link meta param source track wbr'.split(' '),
)

/** Elements that a parser closes where another begins; of the rules of HTML those that texts rely on. */
const CLOSED_BY: Readonly<Record<string, readonly string[]>> = {
  li: ['li'],
  p: ['p'],
  dd: ['dd', 'dt'],
  dt: ['dd', 'dt'],
  td: ['td', 'th'],
  th: ['th'],
  tr: ['tr', 'td', 'th'],
  ...Object.fromEntries(
    'blockquote div dl h1 h2 h3 h4 h5 h6 ol pre table ul'.split(' ').map((tag) => [tag, ['p']]),
  ),
}

/**
 * Whether elements are nested deeper than `limit`.
 *
 * @param html in which each `<` begins a whole tag or a comment.
 */
export function isDeeperThan(html: string, limit: number): boolean {
  const open: string[] = []
  for (const [, slash, given] of html.matchAll(TAG)) {
    const tag = given?.toLowerCase()
    if (tag === undefined || VOID.has(tag)) continue
    if (slash === '/') {
      const at = open.lastIndexOf(tag)
      if (at !== -1) open.length = at
      continue
    }
    const closed = Object.hasOwn(CLOSED_BY, tag) ? CLOSED_BY[tag]! : []
    while (closed.includes(open.at(-1)!)) open.pop()
    if (open.push(tag) > limit) return true
  }
  return false
}

/** Where an element may begin; one that another tag or a comment contains is counted, too. */
const OPENING = /<[a-z][^ \n\t\f\r/>]*/gi
/** One attribute, as parsers separate them; of a value in quotes only the first quote. */
const ATTRIBUTE =
  /[ \n\t\f\r/]*([^ \n\t\f\r/>][^ \n\t\f\r/>=]*)(?:[ \n\t\f\r]*=[ \n\t\f\r]*(?:(["'])|[^ \n\t\f\r>]*))?/y

/** How much a text may have. */
export interface HtmlAmounts {
  /** Opening tags. */
  readonly maxTags: number
  /** Attributes of all tags together. Of each tag, one `rel` is free, because links get it when they are cleaned. */
  readonly maxAttributes: number
  /** `&`, and `<` and `>` outside tags. */
  readonly maxReferences: number
}

/**
 * What a text has too much of. A text that was cleaned once has no more of anything.
 *
 * @param html in which each `<` begins a whole tag or a comment
 */
export function findExcess(html: string, most: HtmlAmounts): keyof HtmlAmounts | undefined {
  const marks = count(html, '<', 2 * most.maxTags)
  // Closing tags and comments are as many again.
  if (marks > 2 * most.maxTags) return 'maxTags'
  const references = count(html, '&', most.maxReferences)
  const closed = count(html, '>', marks + most.maxReferences)
  if (references + Math.max(closed - marks, 0) > most.maxReferences) return 'maxReferences'
  return findExcessOfTags(html, most)
}

function findExcessOfTags(html: string, { maxTags, maxAttributes }: HtmlAmounts) {
  let tags = 0
  let attributes = 0
  OPENING.lastIndex = 0
  while (OPENING.test(html)) {
    if (++tags > maxTags) return 'maxTags'
    let isFree = true
    ATTRIBUTE.lastIndex = OPENING.lastIndex
    for (let found = ATTRIBUTE.exec(html); found !== null; found = ATTRIBUTE.exec(html)) {
      const [, name, quote] = found
      if (isFree && name === 'rel') isFree = false
      else if (++attributes > maxAttributes) return 'maxAttributes'
      if (quote === undefined) continue
      const end = html.indexOf(quote, ATTRIBUTE.lastIndex)
      if (end === -1) break
      ATTRIBUTE.lastIndex = end + 1
    }
  }
  return undefined
}

/** How often a character occurs; one more than `limit` if more often. */
function count(text: string, character: string, limit: number): number {
  let found = 0
  for (let at = text.indexOf(character); at !== -1; at = text.indexOf(character, at + 1)) {
    if (++found > limit) break
  }
  return found
}
