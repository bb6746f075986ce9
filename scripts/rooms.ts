/** The rooms of a package: the folders and files below its `src`, and which import which. */
import { posix } from 'node:path'
import { readImports, type Import } from './imports.ts'
import type { Graph } from './graph.ts'

/** One import of a file of the same package, types included. */
export interface InnerImport {
  /** Below `src`: `policy/reader.ts`. */
  readonly from: string
  readonly to: string
  /** From 1. */
  readonly line: number
}

/** The imports of one file. */
export interface SourceImports {
  /** Below `src`. */
  readonly path: string
  readonly imports: readonly Import[]
}

/** Reads the imports of the sources of one package. @param texts path below `src` → text. */
export function readSources(texts: ReadonlyMap<string, string>): SourceImports[] {
  return [...texts].map(([path, text]) => ({ path, imports: readImports(path, text) }))
}

/** Lists the imports among the files of one package. */
export function innerImports(sources: readonly SourceImports[]): InnerImport[] {
  const paths = new Set(sources.map(({ path }) => path))
  return sources.flatMap(({ path, imports }) =>
    imports.flatMap(({ specifier, line }) => {
      if (specifier === null || !/^\.{1,2}\//.test(specifier)) return []
      const to = posix.join(posix.dirname(path), specifier)
      return paths.has(to) ? [{ from: path, to, line }] : []
    }),
  )
}

/** The folder of a path below `src`; `undefined` for a file directly in `src`. */
export function folderOf(path: string): string | undefined {
  const end = path.indexOf('/')
  return end === -1 ? undefined : path.slice(0, end)
}

/** The room of a path below `src`: its folder as `policy/`, or the file itself if it is in none. */
export function roomOf(path: string): string {
  const folder = folderOf(path)
  return folder === undefined ? path : `${folder}/`
}

/**
 * The graph of a package's files, or of what they belong to.
 *
 * @param nodeOf maps a path to its node; an import from or to `undefined` is left out.
 */
export function graphOf(
  paths: Iterable<string>,
  imports: readonly InnerImport[],
  nodeOf: (path: string) => string | undefined,
): Graph {
  const graph = new Map<string, Set<string>>()
  for (const path of paths) {
    const node = nodeOf(path)
    if (node !== undefined && !graph.has(node)) graph.set(node, new Set())
  }
  for (const { from, to } of imports) {
    const [source, target] = [nodeOf(from), nodeOf(to)]
    if (source === undefined || target === undefined || source === target) continue
    graph.get(source)?.add(target)
  }
  return graph
}
