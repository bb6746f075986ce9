/** Computes the hashes of inline scripts and styles in HTML files. @see W3C CSP Level 3, section 8.3 */
import { createHash } from 'node:crypto'
import { readFileSync, readdirSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { findTags } from './html-tags.ts'

/** Hash sources for `script-src` and `style-src`. */
export interface InlineHashes {
  readonly scripts: readonly string[]
  readonly styles: readonly string[]
  /** Script files without a hash or a nonce. */
  readonly external: readonly string[]
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
  const external = new Set<string>()
  for (const file of paths.flatMap(listHtml)) {
    // The HTML parser turns every line break into LF before the browser computes the hash.
    const html = readFileSync(file, 'utf8').replaceAll(/\r\n?/g, '\n')
    for (const { name, attributes, code } of findTags(html)) {
      const integrity = attributes.get('integrity')
      if (name === 'style' && code !== '') styles.add(hashSource(requireStaticCode(code, file)))
      if (name !== 'script') continue
      if (integrity !== undefined) {
        for (const hash of integrity.trim().split(/\s+/)) scripts.add(`'${hash}'`)
      } else if (attributes.has('src')) {
        if (!attributes.has('nonce')) external.add(attributes.get('src')!)
      } else if (code !== '') scripts.add(hashSource(requireStaticCode(code, file)))
    }
  }
  return { scripts: [...scripts], styles: [...styles], external: [...external] }
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
