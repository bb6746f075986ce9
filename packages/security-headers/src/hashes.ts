/** Hashes of inline code, read out of HTML at boot. @see W3C CSP Level 3, section 8.3 */
import { createHash } from 'node:crypto'
import { readFileSync, readdirSync, statSync } from 'node:fs'
import { join } from 'node:path'

/** Sources for `script-src` and `style-src`. */
export interface InlineHashes {
  readonly scripts: readonly string[]
  readonly styles: readonly string[]
}

/** The source that allows this text and no other. */
export function hashSource(code: string): string {
  return `'sha256-${createHash('sha256').update(code).digest('base64')}'`
}

/**
 * Hashes what stands in the `script` and `style` elements of HTML files; a script with an
 * `integrity` attribute brings its own.
 *
 * @param paths files, or folders that are searched for `.html` and `.htm`.
 * @throws Error a file cannot be read, or a script holds a template's placeholder: what is filled in
 *   later has another hash.
 */
export function hashFiles(paths: readonly string[]): InlineHashes {
  const scripts = new Set<string>()
  const styles = new Set<string>()
  for (const file of paths.flatMap(listHtml)) {
    // Browsers hash what they parsed, which has one kind of line end.
    const html = readFileSync(file, 'utf8').replaceAll(/\r\n?/g, '\n')
    for (const { attributes, code } of elementsOf(html, 'script')) {
      const integrity = /(?:^|\s)integrity\s*=\s*["']([\w+/=\s-]+)["']/i.exec(attributes)?.[1]
      if (integrity !== undefined) {
        for (const hash of integrity.trim().split(/\s+/)) scripts.add(`'${hash}'`)
      } else if (code !== '') scripts.add(hashSource(refusePlaceholder(code, file)))
    }
    for (const { code } of elementsOf(html, 'style')) {
      if (code !== '') styles.add(hashSource(refusePlaceholder(code, file)))
    }
  }
  return { scripts: [...scripts], styles: [...styles] }
}

function listHtml(path: string): string[] {
  if (!statSync(path).isDirectory()) return [path]
  return readdirSync(path, { recursive: true, encoding: 'utf8' })
    .filter((name) => /\.html?$/i.test(name))
    .toSorted()
    .map((name) => join(path, name))
}

function refusePlaceholder(code: string, file: string): string {
  if (/<%|\{\{|\$\{\{/.test(code)) {
    throw new Error(
      `${file} has inline code with a placeholder; give that element the nonce instead`,
    )
  }
  return code
}

interface Element {
  readonly attributes: string
  readonly code: string
}

/** Where a tag ends: a value in quotes may hold what looks like its end. */
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

/** The elements of one name, by search and not by one pattern: time grows with the length only. */
function elementsOf(html: string, name: 'script' | 'style'): Element[] {
  const lower = html.toLowerCase()
  const elements: Element[] = []
  for (let at = lower.indexOf(`<${name}`); at !== -1; at = lower.indexOf(`<${name}`, at)) {
    const start = at + name.length + 1
    const open = endOfTag(lower, start)
    const end = open === -1 ? -1 : lower.indexOf(`</${name}`, open)
    if (end === -1) break
    if (/[\s>]/.test(lower[start]!)) {
      elements.push({ attributes: html.slice(start, open), code: html.slice(open + 1, end) })
    }
    at = end
  }
  return elements
}
