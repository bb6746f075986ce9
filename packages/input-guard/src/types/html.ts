/** Rich text: HTML of which only what a list allows is kept. */
import type { TString } from '@sinclair/typebox'
import { PARAPET_INPUT_GUARD_ENGINE_FAILED } from '../errors.ts'
import { hasLoneSurrogate } from '../text/characters.ts'
import {
  checkSettings,
  commonOf,
  fault,
  guardedString,
  refuseType,
  withoutUndefined,
  type AllowedHtml,
  type CheckTools,
  type CommonOptions,
  type HtmlEngine,
  type TextCheck,
} from './check.ts'
import { findExcess, isDeeperThan, type HtmlAmounts } from './html-limits.ts'

/** Options of {@link SafeHtml}. */
export interface SafeHtmlOptions extends CommonOptions {
  /** Characters of the HTML as it is sent, at most 100 000. @default 10 000 */
  readonly maxLength?: number
  /** `comment`: inline marks, links, lists, quotes, code. `rich`: headings, tables and images, too. @default 'comment' */
  readonly allow?: 'comment' | 'rich' | AllowedHtml
  /** `sanitize` removes what is unsafe and reports it; `reject` refuses the request. @default 'sanitize' */
  readonly onUnsafe?: 'sanitize' | 'reject'
  /** Opening tags; more are refused before a parser reads them. Closing tags and comments: as many again. @default 200 */
  readonly maxTags?: number
  /** Attributes of all tags together; more are refused, too. @default 400 */
  readonly maxAttributes?: number
  /** `&`, and `<` and `>` outside tags; more are refused, too. @default 500 */
  readonly maxReferences?: number
}

/** An engine takes some microseconds for each of them, so these take less than 5 ms together. */
const DEFAULT_AMOUNTS: HtmlAmounts = { maxTags: 200, maxAttributes: 400, maxReferences: 500 }
const MAX_AMOUNT = 10_000

const COMMENT: AllowedHtml = {
  tags: (
    'a abbr b blockquote br cite code del em i ins kbd li ' +
    'mark ol p pre q s small span strong sub sup u ul'
  ).split(' '),
  attributes: { a: ['href', 'title'], abbr: ['title'], '*': ['lang', 'dir'] },
  schemes: ['https', 'http', 'mailto'],
}
const RICH: AllowedHtml = {
  tags: [
    ...COMMENT.tags,
    ...(
      'caption dd div dl dt figcaption figure h2 h3 h4 h5 h6 ' +
      'hr img table tbody td tfoot th thead tr'
    ).split(' '),
  ],
  attributes: {
    ...COMMENT.attributes,
    img: ['src', 'alt', 'title', 'width', 'height', 'loading'],
    td: ['colspan', 'rowspan'],
    th: ['colspan', 'rowspan', 'scope'],
    ol: ['start', 'reversed'],
  },
  schemes: COMMENT.schemes,
}
const PRESETS = { comment: COMMENT, rich: RICH } as const

/** Elements that run code, load pages, or whose content browsers read as raw text, whatever a list says. */
const NEVER_TAGS = (
  'script style iframe object embed base meta link svg math template noscript form frame frameset fencedframe ' +
  'portal applet xmp plaintext noembed noframes textarea title'
).split(' ')
const NEVER_SCHEMES = ['javascript', 'vbscript', 'data', 'blob', 'file']

/** Every attribute whose value browsers read, or have read, as a URL; the engine checks `srcset` by itself. */
const URL_ATTRIBUTES = (
  'action archive attributionsrc background cite classid codebase data dynsrc formaction href icon itemid longdesc ' +
  'lowsrc manifest ping poster profile src usemap xlink:href'
).split(' ')

/** HTML that is sanitized once, when it arrives, and stored clean. */
export function SafeHtml(options: SafeHtmlOptions = {}): TString {
  checkSettings('SafeHtml', options, {
    maxLength: 'number',
    allow: typeof options.allow === 'string' ? Object.keys(PRESETS) : 'object',
    onUnsafe: ['sanitize', 'reject'],
    maxTags: 'number',
    maxAttributes: 'number',
    maxReferences: 'number',
  })
  const { maxLength = 10_000, allow = 'comment', onUnsafe } = options
  if (maxLength > 100_000) refuseType('SafeHtml', '"maxLength" must be at most 100000')
  if (typeof allow !== 'string') refuseUnsafe(allow)
  const { maxTags, maxAttributes, maxReferences } = options
  const amounts = { maxTags, maxAttributes, maxReferences }
  for (const [name, amount = 1] of Object.entries(amounts)) {
    if (!Number.isSafeInteger(amount) || amount < 1 || amount > MAX_AMOUNT) {
      refuseType('SafeHtml', `"${name}" must be an integer from 1 to ${MAX_AMOUNT}`)
    }
  }
  const settings = { type: 'html', allow, onUnsafe, ...amounts }
  return guardedString(settings, { ...commonOf(options), maxLength })
}

function refuseUnsafe({ tags, attributes, schemes }: AllowedHtml): void {
  const bad = [
    ...tags.filter((tag) => NEVER_TAGS.includes(tag.toLowerCase())),
    ...Object.values(attributes)
      .flat()
      .filter((name) => /^on|^style$|^srcdoc$|\*/i.test(name)),
    ...schemes.filter((scheme) => NEVER_SCHEMES.includes(scheme.toLowerCase())),
  ]
  if (bad.length > 0) {
    refuseType(
      'SafeHtml',
      `"allow" must not contain what runs code or loads pages: ${bad.join(', ')}`,
    )
  }
}

const UNSAFE = fault('html', 'must not contain HTML that is not allowed here')
const SURROGATE = fault('lone_surrogate', 'must not contain half of a surrogate pair')
const CONTROL = /[^\P{Cc}\t\n\r]/gu
const HAS_CONTROL = /[^\P{Cc}\t\n\r]/u
const HAS_MARKUP = /[<>&]/
/** A `<` that begins no whole tag, comment or instruction: text such as `total<budget`. */
export const LOOSE = /<(?![a-z/!?][^<>]*>|!--)/gi
/** Comments, instructions and declarations are removed. */
const REMOVED = /<(?:[!?]|\/[^a-z])/i
/** An engine keeps half as much. */
const MAX_DEPTH = 100
const TOO_DEEP = fault('html_depth', `must nest at most ${MAX_DEPTH} elements`)
const EXCESS = {
  maxTags: ['html_tags', 'tags'],
  maxAttributes: ['html_attributes', 'attributes of tags'],
  maxReferences: ['html_references', 'of the characters & < > in its text'],
} as const

export function compileHtml(settings: SafeHtmlOptions, tools: CheckTools): TextCheck {
  const { allow = 'comment', onUnsafe = 'sanitize' } = settings
  const amounts = { ...DEFAULT_AMOUNTS, ...withoutUndefined(settings) } as HtmlAmounts
  const allowed = typeof allow === 'string' ? PRESETS[allow] : allow
  const engine = tools.htmlEngine ?? createDefaultEngine(tools, allowed)
  return (text, report) => {
    if (hasLoneSurrogate(text)) return SURROGATE
    // A browser drops or replaces them, a parser may not.
    const hasControl = HAS_CONTROL.test(text)
    const plain = hasControl ? text.replaceAll(CONTROL, '') : text
    if (!hasControl && !HAS_MARKUP.test(plain)) return plain
    const whole = plain.replaceAll(LOOSE, '&lt;')
    const excess = findExcess(whole, amounts)
    if (excess !== undefined) {
      const [code, what] = EXCESS[excess]
      return fault(code, `must have at most ${amounts[excess]} ${what}`)
    }
    if (isDeeperThan(whole, MAX_DEPTH)) return TOO_DEEP
    const { html, isChanged } = runEngine(engine, whole, allowed)
    if (!isChanged && !hasControl && !REMOVED.test(whole)) return html
    if (onUnsafe === 'reject') return UNSAFE
    report.sanitized()
    return html
  }
}

/** @throws PARAPET_INPUT_GUARD_ENGINE_FAILED the engine throws, or answers something else. */
function runEngine(engine: HtmlEngine, html: string, allowed: AllowedHtml) {
  try {
    const result: { readonly html: unknown; readonly isChanged: unknown } = engine.sanitize(
      html,
      allowed,
    )
    if (typeof result.html === 'string' && typeof result.isChanged === 'boolean') {
      return { html: result.html, isChanged: result.isChanged }
    }
    throw new TypeError('htmlEngine.sanitize must return { html: string, isChanged: boolean }')
  } catch (cause) {
    throw Object.assign(new PARAPET_INPUT_GUARD_ENGINE_FAILED(), { cause })
  }
}

/** Links open without access to the page that has them. @see HTML, section 4.6.6.12 */
const LINK = { rel: 'nofollow noopener noreferrer' }

function addRel(tagName: string, attribs: Record<string, string>) {
  return { tagName, attribs: { ...attribs, ...LINK } }
}

function addMissingRel(tagName: string, attribs: Record<string, string>) {
  return 'rel' in attribs ? { tagName, attribs } : addRel(tagName, attribs)
}

/**
 * The default engine. Something unsafe was removed exactly if the result differs from that of a run that
 * keeps everything: texts that only differ in notation (`<br/>`, an unclosed `<p>`, `&`) do not count.
 */
function createDefaultEngine({ libraries }: CheckTools, allowed: AllowedHtml): HtmlEngine {
  libraries.need('sanitize-html')
  const { tags, attributes, schemes } = allowed
  const shared = { parseStyleAttributes: false, enforceHtmlBoundary: false }
  const strict = {
    ...shared,
    transformTags: { a: addRel },
    nestingLimit: 50,
    allowedTags: [...tags],
    allowedAttributes: { ...attributes, a: [...(attributes['a'] ?? []), 'rel'] },
    allowedSchemes: [...schemes],
    allowedSchemesAppliedToAttributes: URL_ATTRIBUTES,
    allowProtocolRelative: false,
  }
  const keepAll = {
    ...shared,
    transformTags: { a: addMissingRel },
    nonBooleanAttributes: [],
    allowedTags: false,
    allowedAttributes: false,
    allowVulnerableTags: true,
    allowedSchemes: false,
    allowedSchemesAppliedToAttributes: [],
    allowProtocolRelative: true,
  }
  return {
    sanitize(html) {
      const sanitize = libraries.get('sanitize-html')
      const clean = sanitize(html, strict)
      return { html: clean, isChanged: clean !== html && clean !== sanitize(html, keepAll) }
    },
  }
}
