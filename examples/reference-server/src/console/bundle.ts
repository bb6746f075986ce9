/**
 * Bundles the page of the console into `console/dist/<hash>`, where the hash is that of the sources: a
 * folder never changes, so that browsers may keep its files, and two processes may build at the same time.
 */
import { createHash } from 'node:crypto'
import {
  access,
  chmod,
  copyFile,
  cp,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  rename,
  rm,
  stat,
  writeFile,
} from 'node:fs/promises'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const home = fileURLToPath(new URL('../../console', import.meta.url))
const dist = join(home, 'dist')
const KEPT_MS = 604_800_000
const FONTS = [
  ['@fontsource-variable/geist', 'geist-latin-wght-normal.woff2'],
  ['@fontsource-variable/geist-mono', 'geist-mono-latin-wght-normal.woff2'],
] as const

/** A bundle on disk. */
export interface ConsoleBundle {
  readonly hash: string
  readonly directory: string
}

/**
 * Returns the bundle of the present sources, and builds it if there is none. In an image without the
 * sources, the one that was built is used.
 *
 * @throws Error the bundler is not installed, or the sources do not compile.
 */
export async function openConsoleBundle(): Promise<ConsoleBundle> {
  const sources = await listSources()
  const hash = sources.length === 0 ? await findBuilt() : await hashOf(sources)
  const directory = join(dist, hash)
  if (!(await exists(directory))) await build(directory)
  return { hash, directory }
}

/** The files that the bundle is made from, by path. */
async function listSources(): Promise<string[]> {
  const entries = await readdir(home, { recursive: true, withFileTypes: true }).catch(() => [])
  const paths = entries
    .filter((entry) => entry.isFile() && /\.(?:tsx?|css|svg)$/.test(entry.name))
    .map(({ parentPath, name }) => join(parentPath, name))
  return paths.filter((path) => !path.startsWith(dist)).toSorted()
}

async function hashOf(paths: readonly string[]): Promise<string> {
  const hash = createHash('sha256')
  for (const path of paths) {
    // A path of its own, so that moving a file is a change.
    hash
      .update(`${path.slice(home.length)}\n`)
      .update(await readFile(path))
      .update('\n')
  }
  return hash.digest('hex').slice(0, 16)
}

async function findBuilt(): Promise<string> {
  const built = await readdir(dist)
  const [hash] = built.filter((name) => /^[0-9a-f]{16}$/.test(name))
  if (hash === undefined) throw new Error('the console has neither sources nor a bundle')
  return hash
}

async function build(directory: string): Promise<void> {
  await mkdir(dist, { recursive: true })
  const temporary = await mkdtemp(join(dist, '.build-'))
  try {
    await writeScripts(temporary)
    await writeStyles(temporary)
    const fonts = FONTS.map(([name, file]) => copyFile(fontPath(name, file), join(temporary, file)))
    await Promise.all([...fonts, cp(join(home, 'icon.svg'), join(temporary, 'icon.svg'))])
    // A temporary folder is private; an image may run as another user.
    await chmod(temporary, 0o755)
    await rename(temporary, directory).catch(async (error: unknown) => {
      // Another process has built the same.
      if (!(await exists(directory))) throw error
    })
  } finally {
    await rm(temporary, { recursive: true, force: true })
  }
  await removeOld(directory)
}

/** Removes the bundles of former sources, but not those that a running server may still use. */
async function removeOld(current: string): Promise<void> {
  for (const name of await readdir(dist)) {
    const path = join(dist, name)
    // Another process that builds at the same time may have renamed its folder.
    const { mtimeMs } = await stat(path).catch(() => ({ mtimeMs: Infinity }))
    if (path !== current && mtimeMs < Date.now() - KEPT_MS) {
      await rm(path, { recursive: true, force: true })
    }
  }
}

async function writeScripts(directory: string): Promise<void> {
  // Loaded only here: a server with a bundle needs no bundler.
  const { build } = await import('rolldown')
  await build({
    cwd: home,
    input: {
      console: join(home, 'main.tsx'),
      theme: join(home, 'theme.ts'),
      account: join(home, 'account.ts'),
    },
    platform: 'browser',
    tsconfig: false,
    transform: {
      target: 'es2023',
      define: { 'process.env.NODE_ENV': '"production"' },
      jsx: { runtime: 'automatic', importSource: 'preact' },
    },
    checks: { bundlerTimings: false },
    onLog(level, { message }) {
      if (level === 'warn') throw new Error(`the console does not bundle: ${message}`)
    },
    output: {
      dir: directory,
      format: 'esm',
      minify: true,
      sourcemap: false,
      entryFileNames: '[name].js',
      chunkFileNames: '[name]-[hash].js',
    },
  })
}

/** The styles in the order of their names, after those of the chart library. */
async function writeStyles(directory: string): Promise<void> {
  const folder = join(home, 'styles')
  const own = (await readdir(folder)).toSorted().map((name) => join(folder, name))
  const require = createRequire(import.meta.url)
  const paths = [require.resolve('uplot/dist/uPlot.min.css'), ...own]
  const texts = await Promise.all(paths.map((path) => readFile(path, 'utf8')))
  await writeFile(join(directory, 'console.css'), texts.join('\n'))
}

function fontPath(name: string, file: string): string {
  const manifest = createRequire(import.meta.url).resolve(`${name}/package.json`)
  return join(manifest, '..', 'files', file)
}

function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  )
}
