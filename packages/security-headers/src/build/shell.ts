/** Prepares an HTML file of a build: integrity hashes now, and the places of the nonce. */
import { findTags, type Tag } from '../csp/html-tags.ts'

/** The text of a page before, between and after its nonces. */
export type Shell = readonly string[]

/** What {@link prepareShell} needs to know of the build. */
export interface BuildFiles {
  /** Integrity hashes by URL path: `/assets/index.js`. */
  readonly integrity: ReadonlyMap<string, string>
  /** The URL path of the HTML file: `/index.html`. */
  readonly path: string
}

/** Marks the places of the nonce. The null character is invalid in HTML. */
const NONCE = '\0'
const ORIGIN = 'http://build.invalid'

/**
 * Adds the nonce and the integrity hash to each tag that loads a script, and an import map with the
 * hashes of the files that scripts import.
 *
 * @throws Error a script is not part of the build and has no integrity hash.
 */
export function prepareShell(html: string, files: BuildFiles): Shell {
  if (html.includes(NONCE)) throw new Error(`${files.path} contains a null character`)
  const tags = findTags(html)
  const map = importMapOf(tags, files.integrity)
  const first = tags.find((tag) => loadsScript(tag))
  let text = ''
  let at = 0
  for (const tag of tags) {
    const isMap = isImportMap(tag)
    // The import map must come before the first script that it applies to.
    const before = tag === first && map !== null && !tags.some(isImportMap) ? mapTag(map) : ''
    text += html.slice(at, tag.start) + before + (isMap ? '' : rewrite(html, tag, files))
    at = isMap ? endOfElement(html, tag) : tag.end
    if (isMap) text += mapTag(map ?? tag.code)
  }
  return Object.freeze((text + html.slice(at)).split(NONCE))
}

function rewrite(html: string, tag: Tag, { integrity, path }: BuildFiles): string {
  const source = html.slice(tag.start, tag.end)
  const isStyle = tag.name === 'link' && tag.attributes.get('rel')?.toLowerCase() === 'stylesheet'
  if (!loadsScript(tag) && !isStyle) return source
  const url = new URL(
    (tag.attributes.get('src') ?? tag.attributes.get('href'))!,
    `${ORIGIN}${path}`,
  )
  const hash = url.origin === ORIGIN ? integrity.get(url.pathname) : undefined
  const hasHash = tag.attributes.has('integrity')
  if (hash === undefined && !hasHash && !isStyle) {
    throw new Error(
      `${path} loads ${tag.attributes.get('src') ?? tag.attributes.get('href')}, which is not in the folder; add an integrity attribute, or correct "build.base"`,
    )
  }
  const added = [
    ...(hash === undefined || hasHash ? [] : [`integrity="${hash}"`]),
    ...(isStyle ? [] : [`nonce="${NONCE}"`]),
  ]
  if (added.length === 0) return source
  const name = source.slice(0, tag.name.length + 1)
  return `${name} ${added.join(' ')}${withoutNonce(source.slice(name.length))}`
}

/** A bundler may have written a placeholder for the nonce. */
function withoutNonce(attributes: string): string {
  return attributes.replace(/\snonce(?:\s*=\s*(?:"[^"]*"|'[^']*'|[^\s"'=<>`]+))?(?=[\s/>])/i, '')
}

const CODE_TYPES = new Set(['', 'module', 'text/javascript', 'application/javascript'])

function loadsScript({ name, attributes }: Tag): boolean {
  if (name === 'script') {
    return attributes.has('src') && CODE_TYPES.has((attributes.get('type') ?? '').toLowerCase())
  }
  const rel = attributes.get('rel')?.toLowerCase()
  const isScript =
    rel === 'modulepreload' || (rel === 'preload' && attributes.get('as') === 'script')
  return name === 'link' && isScript && attributes.has('href')
}

function isImportMap({ name, attributes }: Tag): boolean {
  return name === 'script' && attributes.get('type')?.toLowerCase() === 'importmap'
}

/** @returns the text of an import map with all hashes; `null`: there are none. */
function importMapOf(tags: readonly Tag[], integrity: ReadonlyMap<string, string>): string | null {
  const scripts = [...integrity].filter(([path]) => /\.m?js$/.test(path))
  if (scripts.length === 0) return null
  const own = JSON.parse(tags.find(isImportMap)?.code ?? '{}') as {
    readonly integrity?: Readonly<Record<string, string>>
  }
  const map = { ...own, integrity: { ...Object.fromEntries(scripts), ...own.integrity } }
  // A file name must not end the element.
  return JSON.stringify(map).replaceAll('<', '\\u003c')
}

function mapTag(map: string): string {
  return `<script type="importmap" nonce="${NONCE}">${map}</script>`
}

function endOfElement(html: string, { end, code }: Tag): number {
  return html.indexOf('>', end + code.length) + 1
}
