/** Reads the output of a bundler at boot: the hashes of its files and its prepared pages. */
import { createHash } from 'node:crypto'
import { readdirSync, readFileSync } from 'node:fs'
import { join, sep } from 'node:path'
import { hashFiles, type InlineHashes } from '../csp/inline-hashes.ts'
import type { BuildSettings } from './options.ts'
import { prepareShell, type Shell } from './shell.ts'

/** The build of a single-page app. */
export interface Build {
  /** Hash sources of the inline code of its pages. */
  readonly inline: InlineHashes
  /** The prepared page for exactly these bytes; `undefined`: no page of the build. */
  readonly shellOf: (body: string | Buffer) => Shell | undefined
  /** No page of the build is longer. */
  readonly maxBytes: number
}

/**
 * Reads a build.
 *
 * @throws Error the folder cannot be read, contains no page, or a page loads another script.
 */
export function readBuild({ folder, base }: BuildSettings): Build {
  const files = readdirSync(folder, { recursive: true, encoding: 'utf8' }).toSorted()
  const urlOf = (file: string) => encodeURI(base + file.split(sep).join('/'))
  const read = (file: string) => readFileSync(join(folder, file))
  const integrity = new Map(
    files
      .filter((file) => /\.(?:m?js|css)$/.test(file))
      .map((file) => [urlOf(file), `sha384-${digest('sha384', read(file), 'base64')}`]),
  )
  const pages = files.filter((file) => /\.html?$/i.test(file))
  if (pages.length === 0) throw new Error(`${folder} must contain an HTML file`)
  const shells = new Map<string, Shell>()
  let maxBytes = 0
  for (const file of pages) {
    const body = read(file)
    const shell = prepareShell(body.toString('utf8'), { integrity, path: urlOf(file) })
    // A static plugin may send a compressed copy in place of the page.
    const copies = ['.br', '.gz', '.zst']
      .map((end) => file + end)
      .filter((copy) => files.includes(copy))
    for (const bytes of [body, ...copies.map(read)]) {
      shells.set(digest('sha256', bytes, 'hex'), shell)
      maxBytes = Math.max(maxBytes, bytes.length)
    }
  }
  return {
    inline: hashFiles(pages.map((file) => join(folder, file))),
    shellOf: (body) => shells.get(digest('sha256', body, 'hex')),
    maxBytes,
  }
}

function digest(algorithm: string, data: string | Buffer, encoding: 'hex' | 'base64'): string {
  return createHash(algorithm).update(data).digest(encoding)
}
