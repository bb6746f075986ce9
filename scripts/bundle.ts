/** Bundles the JavaScript of one package: a file for each entry, and one for each part that loads later. */
import { isAbsolute, join, relative } from 'node:path'
import { build, type OutputOptions, type PreRenderedChunk, type RolldownOutput } from 'rolldown'
import { workspaceRoot, type Manifest } from './workspace.ts'

const SHARED = 'shared'

/** The entries of a package: paths below `src` without their ending. */
export interface Entries {
  /** From `exports`; what they need is loaded with an app. */
  readonly exported: readonly string[]
  /** From `bin`. */
  readonly commands: readonly string[]
}

/** The part of a module graph that is read here. */
interface Modules {
  getModuleInfo(id: string): { readonly importedIds: readonly string[] } | null
}

/** Lists the entries of a package: `./dist/index.js` is made from `src/index.ts`, so it is `index`. */
export function listEntries({ exports = {}, bin = {} }: Manifest): Entries {
  const targets = Object.values(exports).map((target) =>
    typeof target === 'string' ? target : (target['default'] ?? ''),
  )
  return {
    exported: namesOf(targets),
    commands: namesOf(typeof bin === 'string' ? [bin] : Object.values(bin)),
  }
}

function namesOf(paths: readonly string[]): string[] {
  const names = paths.map((path) => /^\.\/dist\/(.+)\.js$/.exec(path)?.[1])
  return [...new Set(names.filter((name) => name !== undefined))]
}

/**
 * Bundles a package into its `dist`, each file with a source map that names the files of `src`.
 * Dependencies stay imports. What the source loads by `import()` keeps its own file, in the place of its
 * source, and loads as late as before. Entries share the modules they have in common, so that an error
 * class exists once.
 *
 * @param home the folder of the package. @returns the paths of the files, below `dist`.
 * @throws Error a warning, such as an import that does not resolve.
 */
export async function bundlePackage(home: string, entries: Entries): Promise<string[]> {
  const source = join(home, 'src')
  const inputOf = (names: readonly string[]) =>
    Object.fromEntries(names.map((name) => [name, join(source, `${name}.ts`)]))
  const exported = inputOf(entries.exported)
  const warnings: string[] = []
  const { output }: RolldownOutput = await build({
    cwd: home,
    input: { ...exported, ...inputOf(entries.commands) },
    platform: 'node',
    external: (id) => !id.startsWith('.') && !isAbsolute(id),
    preserveEntrySignatures: 'strict',
    tsconfig: false,
    transform: { target: 'es2023', typescript: { onlyRemoveTypeImports: true } },
    checks: { bundlerTimings: false },
    onLog(level, { code, message }) {
      // The build is correct, but something loads earlier than its author thinks.
      if (code === 'INEFFECTIVE_DYNAMIC_IMPORT') console.warn(message)
      else if (level === 'warn') warnings.push(message)
    },
    output: outputOf(home, exported),
  })
  if (warnings.length > 0) {
    throw new Error(`${relative(workspaceRoot, home)} does not bundle:\n${warnings.join('\n')}`)
  }
  return output.map(({ fileName }) => fileName)
}

function outputOf(home: string, exported: Readonly<Record<string, string>>): OutputOptions {
  let owners: ReadonlyMap<string, readonly string[]> | undefined
  return {
    dir: join(home, 'dist'),
    format: 'esm',
    sourcemap: true,
    // The sources are published too.
    sourcemapExcludeSources: true,
    // The declarations carry the docblocks.
    comments: { jsdoc: false },
    entryFileNames: '[name].js',
    chunkFileNames: (chunk) => fileNameOf(chunk, join(home, 'src')),
    codeSplitting: {
      groups: [
        {
          // What an export needs at once is one file, even where commands and later parts use some of it.
          name(id, modules) {
            owners ??= ownersOf(exported, modules)
            const names = owners.get(id)
            return names === undefined ? null : [SHARED, ...names].join('-').replaceAll('/', '-')
          },
          debugName: SHARED,
          minShareCount: 2,
        },
      ],
    },
  }
}

/**
 * What loads later is named as its source. Other shared code is named after its last module, which needs
 * the ones before it.
 */
function fileNameOf(chunk: PreRenderedChunk, source: string): string {
  const { isDynamicEntry, facadeModuleId, moduleIds, name } = chunk
  const pathOf = (id: string) => relative(source, id).replace(/\.ts$/, '')
  if (isDynamicEntry && facadeModuleId !== null) return `${pathOf(facadeModuleId)}.js`
  const last = moduleIds.at(-1)
  const isNamed = name.startsWith(SHARED) || last === undefined
  return `chunks/${isNamed ? name : pathOf(last).replaceAll('/', '-')}.js`
}

/** For each module, the exports that load it at once; none are named where there is one export only. */
function ownersOf(
  exported: Readonly<Record<string, string>>,
  modules: Modules,
): ReadonlyMap<string, readonly string[]> {
  const names = Object.keys(exported)
  const owners = new Map<string, string[]>()
  for (const name of names) {
    for (const id of reachableFrom(exported[name]!, modules)) {
      const known = owners.get(id) ?? []
      owners.set(id, names.length === 1 ? [] : [...known, name])
    }
  }
  return owners
}

function reachableFrom(entry: string, modules: Modules): ReadonlySet<string> {
  const found = new Set([entry])
  for (const id of found) {
    for (const imported of modules.getModuleInfo(id)?.importedIds ?? []) found.add(imported)
  }
  return found
}
