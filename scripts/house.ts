/**
 * Measures the architecture: `pnpm run house` prints one line for each package, and with
 * `--base <git revision>` what it was there, what it is now, and the lines added and deleted since.
 * Files that are not in git's index yet are measured, but not counted as added.
 */
import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { findCircles, longestChain } from './graph.ts'
import { folderOf, graphOf, innerImports, readSources, roomOf } from './rooms.ts'
import { listFiles, listPublished, workspaceRoot } from './workspace.ts'

/** What is measured of the `src` of one package. */
export interface Measures {
  readonly files: number
  readonly lines: number
  readonly folders: number
  /** Pairs of folders of which one imports the other, types included. */
  readonly folderImports: number
  /** The longest chain of imports between rooms, from the top to the bottom. */
  readonly chain: readonly string[]
  /** Circles among the folders and among the files. */
  readonly circles: number
}

/** Lines of `src`, `test` and the documents. */
export interface Churn {
  readonly added: number
  readonly deleted: number
}

/** Measures one package. @param texts path below `src` → text. */
export function measure(texts: ReadonlyMap<string, string>): Measures {
  const imports = innerImports(readSources(texts))
  const paths = [...texts.keys()]
  const folders = graphOf(paths, imports, folderOf)
  const files = graphOf(paths, imports, (path) => path)
  return {
    files: paths.length,
    lines: [...texts.values()].reduce((sum, text) => sum + text.trimEnd().split('\n').length, 0),
    folders: folders.size,
    folderImports: [...folders.values()].reduce((sum, { size }) => sum + size, 0),
    chain: longestChain(graphOf(paths, imports, roomOf)),
    circles: findCircles(folders).length + findCircles(files).length,
  }
}

/** Makes a table with aligned columns; the first column is text, the others are numbers. */
export function renderTable(rows: readonly (readonly string[])[]): string {
  const widths = (rows[0] ?? []).map((_, column) =>
    Math.max(...rows.map((row) => row[column]?.length ?? 0)),
  )
  return rows
    .map((row) =>
      row
        .map((cell, column) =>
          column === 0 ? cell.padEnd(widths[column]!) : cell.padStart(widths[column]!),
        )
        .join('  ')
        .trimEnd(),
    )
    .join('\n')
}

/** Renders the report. @param before the measures at the base; left out without `--base`. */
export function renderHouse(
  now: ReadonlyMap<string, Measures>,
  before?: ReadonlyMap<string, Measures>,
  churn?: ReadonlyMap<string, Churn>,
): string {
  const columns: readonly [string, (measures: Measures) => number][] = [
    ['files', ({ files }) => files],
    ['lines', ({ lines }) => lines],
    ['folders', ({ folders }) => folders],
    ['imports between folders', ({ folderImports }) => folderImports],
    ['longest chain', ({ chain }) => chain.length],
    ['circles', ({ circles }) => circles],
  ]
  const rows = [...now].map(([name, measures]) => [
    name,
    ...columns.map(([, read]) => {
      if (before === undefined) return String(read(measures))
      const old = before.get(name)
      return `${old === undefined ? '–' : read(old)} → ${read(measures)}`
    }),
    ...(churn === undefined ? [] : churnCells(churn.get(name))),
  ])
  const header = ['package', ...columns.map(([name]) => name)]
  if (churn !== undefined) {
    header.push('added', 'deleted')
    for (const [name, change] of churn) {
      if (!now.has(name)) rows.push([name, ...columns.map(() => ''), ...churnCells(change)])
    }
    const all = [...churn.values()]
    const total = {
      added: all.reduce((sum, { added }) => sum + added, 0),
      deleted: all.reduce((sum, { deleted }) => sum + deleted, 0),
    }
    rows.push(['total', ...columns.map(() => ''), ...churnCells(total)])
  }
  const chains = [...now].map(([name, { chain }]) => [name, chain.join(' → ')])
  return `${renderTable([header, ...rows])}\n\nlongest chains\n${chains
    .map(([name, chain]) => `${name}: ${chain}`)
    .join('\n')}\n`
}

/**
 * Sums the lines of `git diff --numstat -z` by package; what is in no package counts as `docs`.
 *
 * @param output with renames detected: such an entry has its two paths behind an empty one.
 */
export function readNumstat(output: string): ReadonlyMap<string, Churn> {
  const churn = new Map<string, Churn>()
  const parts = output.split('\0')
  for (let index = 0; index < parts.length; index++) {
    const [added, deleted, path] = parts[index]!.split('\t')
    if (path === undefined) continue
    const target = path === '' ? parts[(index += 2)]! : path
    const name = /^packages\/([^/]+)\//.exec(target)?.[1] ?? 'docs'
    const sum = churn.get(name) ?? { added: 0, deleted: 0 }
    churn.set(name, {
      added: sum.added + (Number(added) || 0),
      deleted: sum.deleted + (Number(deleted) || 0),
    })
  }
  return churn
}

function churnCells({ added, deleted }: Churn = { added: 0, deleted: 0 }): string[] {
  return [`+${added}`, `-${deleted}`]
}

function git(args: readonly string[]): string {
  const maxBuffer = 256 * 1024 * 1024
  return execFileSync('git', args, { cwd: workspaceRoot, encoding: 'utf8', maxBuffer })
}

const SOURCE = /^packages\/([^/]+)\/src\/(.+\.ts)$/

/** The sources of the published packages: package → path below `src` → text. */
function readHouse(
  paths: readonly string[],
  read: (path: string) => string,
): ReadonlyMap<string, ReadonlyMap<string, string>> {
  const house = new Map<string, Map<string, string>>()
  for (const path of paths) {
    const [, name, inner] = SOURCE.exec(path) ?? []
    if (name === undefined || inner === undefined) continue
    if (!house.has(name)) house.set(name, new Map())
    house.get(name)!.set(inner, read(path))
  }
  return house
}

function measureAll(house: ReadonlyMap<string, ReadonlyMap<string, string>>) {
  return new Map([...house].map(([name, texts]) => [name, measure(texts)]))
}

function lines(output: string): string[] {
  return output.split('\0').filter((path) => path !== '')
}

function main(): void {
  const { values } = parseArgs({ options: { base: { type: 'string' } } })
  const folders = listPublished().map(({ folder }) => folder)
  const onDisk = listFiles().filter((path) => folders.some((name) => path.startsWith(`${name}/`)))
  const now = measureAll(
    readHouse(onDisk, (path) => readFileSync(join(workspaceRoot, path), 'utf8')),
  )
  const { base } = values
  if (base === undefined) {
    console.log(renderHouse(now))
    return
  }
  const paths = lines(git(['ls-tree', '-r', '-z', '--name-only', base, '--', ...folders]))
  const before = readHouse(paths, (path) => git(['show', `${base}:${path}`]))
  const documents = ['README.md', 'CONTRIBUTING.md', 'SECURITY.md', 'docs']
  const watched = folders.flatMap((folder) => [
    `${folder}/src`,
    `${folder}/test`,
    `${folder}/README.md`,
  ])
  const diff = git(['diff', '--numstat', '-z', '-M', base, '--', ...watched, ...documents])
  console.log(renderHouse(now, measureAll(before), readNumstat(diff)))
}

if (process.argv[1] === fileURLToPath(import.meta.url)) main()
