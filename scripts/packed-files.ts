/** What an unpacked package must contain: the licence, the sources with their types, and the bundles. */
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join, posix, relative } from 'node:path'
import { listEntries } from './bundle.ts'
import { readImports } from './imports.ts'
import { listSources, readManifest, type Manifest } from './workspace.ts'

/**
 * Lists the faults of an unpacked tarball: each with the paths that have it, none where all is well.
 *
 * @param folder of the package in the workspace, from its root.
 */
export function findFileFaults(
  unpacked: string,
  folder: string,
): [problem: string, paths: string[]][] {
  const found = new Set(listFilesBelow(unpacked))
  const scripts = listScripts(unpacked, readManifest(folder))
  const sources = listSources(folder)
  const expected = new Set([
    'LICENSE',
    'README.md',
    ...listExportedData(readManifest(folder)),
    ...sources.map((path) => `src/${path}.ts`),
    ...sources.flatMap((path) => [`dist/${path}.d.ts`, `dist/${path}.d.ts.map`]),
    ...scripts,
    ...scripts.filter((path) => hasMap(join(unpacked, path))).map((path) => `${path}.map`),
  ])
  const present = [...expected].filter((path) => found.has(path))
  return [
    ['missing (did `pnpm build` run?)', [...expected].filter((path) => !found.has(path))],
    [
      // After a source is renamed, its old build stays in dist until the next build.
      'not expected (`pnpm build` removes old builds)',
      [...found].filter((path) => !expected.has(path) && path !== 'CHANGELOG.md'),
    ],
    [
      'maps that name no published source',
      present
        .filter((path) => path.endsWith('.map'))
        .flatMap((path) => findLostSources(unpacked, path, found)),
    ],
  ]
}

/** The JSON that a package exports as it is: its manifest, a schema. */
function listExportedData({ exports = {} }: Manifest): string[] {
  return Object.values(exports)
    .filter((target) => typeof target === 'string')
    .filter((target) => target.endsWith('.json'))
    .map((target) => target.replace('./', ''))
}

function findLostSources(unpacked: string, path: string, found: ReadonlySet<string>): string[] {
  const map = JSON.parse(readFileSync(join(unpacked, path), 'utf8')) as { sources: string[] }
  return map.sources
    .map((source) => posix.join(posix.dirname(path), source))
    .filter((source) => !found.has(source) || !source.startsWith('src/'))
    .map((source) => `${path} names ${source}`)
}

function listFilesBelow(folder: string): string[] {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => relative(folder, join(entry.parentPath, entry.name)))
}

/** A file that only passes on what another one exports has nothing to map. */
function hasMap(file: string): boolean {
  return existsSync(file) && readFileSync(file, 'utf8').includes('\n//# sourceMappingURL=')
}

/** The entries of a package and every file that they import, now or later. */
function listScripts(unpacked: string, manifest: Manifest): string[] {
  const { exported, commands } = listEntries(manifest)
  const found = new Set([...exported, ...commands].map((entry) => `dist/${entry}.js`))
  for (const path of found) {
    const file = join(unpacked, path)
    if (!existsSync(file)) continue
    for (const { specifier } of readImports(file, readFileSync(file, 'utf8'))) {
      if (specifier?.startsWith('.') === true) {
        found.add(posix.join(posix.dirname(path), specifier))
      }
    }
  }
  return [...found]
}
