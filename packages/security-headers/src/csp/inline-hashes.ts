/** Computes the hashes of inline scripts and styles in HTML files. @see W3C CSP Level 3, section 8.3 */
import { createHash } from 'node:crypto'
import { readFileSync, readdirSync, statSync } from 'node:fs'
import { join } from 'node:path'

/** Hash sources for `script-src` and `style-src`. */
export interface InlineHashes {
  readonly scripts: readonly string[]
  readonly styles: readonly string[]
}

/** The source that allows exactly this inline code. */
export function hashSource(code: string): string {
  return `'sha256-${createHash('sha256').update(code).digest('base64')}'`
}

/**
 * Hashes the content of every `script` and `style` element in HTML files. For a script with an
 * `integrity` attribute the hashes of that attribute are used.
 *
 * @param paths files, or folders that are searched recursively for `.html` and `.htm` files.
 * @throws Error a file cannot be read, or inline code contains a template placeholder. The rendered
 *   code would have another hash than the template.
 */
export function hashFiles(paths: readonly string[]): InlineHashes {
  const scripts = new Set<string>()
  const styles = new Set<string>()
  for (const file of paths.flatMap(listHtml)) {
    // The HTML parser turns every line break into LF before the browser computes the hash.
    const html = readFileSync(file, 'utf8').replaceAll(/\r\n?/g, '\n')
    for (const { attributes, code } of elementsOf(html, 'script')) {
      const integrity = /(?:^|\s)integrity\s*=\s*["']([\w+/=\s-]+)["']/i.exec(attributes)?.[1]
      if (integrity !== undefined) {
        for (const hash of integrity.trim().split(/\s+/)) scripts.add(`'${hash}'`)
      } else if (code !== '') scripts.add(hashSource(requireStaticCode(code, file)))
    }
    for (const { code } of elementsOf(html, 'style')) {
      if (code !== '') styles.add(hashSource(requireStaticCode(code, file)))
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

function requireStaticCode(code: string, file: string): string {
  if (/<%|\{\{|\$\{\{/.test(code)) {
    throw new Error(
      `inline code in ${file} must be static, but it contains a template placeholder; use the nonce for this element instead`,
    )
  }
  return code
}

interface Element {
  readonly attributes: string
  readonly code: string
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

/** Finds all elements of one name with `indexOf`, in linear time; a regular expression could backtrack. */
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
