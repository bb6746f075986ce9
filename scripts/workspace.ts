/** Reads the workspace from the disk, for scripts and tests that check it as a whole. */
import { execFileSync } from 'node:child_process'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

/** The folder of the workspace. */
export const workspaceRoot = fileURLToPath(new URL('..', import.meta.url))

/** The members of a package.json that the scripts read. */
export interface Manifest {
  readonly name: string
  readonly version?: string
  readonly private?: boolean
  readonly description?: string
  readonly license?: string
  readonly homepage?: string
  readonly repository?: Readonly<Record<string, string>>
  readonly bugs?: string
  readonly type?: string
  readonly sideEffects?: boolean
  readonly engines?: Readonly<Record<string, string>>
  readonly files?: readonly string[]
  readonly exports?: Readonly<Record<string, string | Readonly<Record<string, string>>>>
  readonly bin?: string | Readonly<Record<string, string>>
  readonly publishConfig?: Readonly<Record<string, unknown>>
  readonly scripts?: Readonly<Record<string, string>>
  readonly dependencies?: Readonly<Record<string, string>>
  readonly devDependencies?: Readonly<Record<string, string>>
  readonly peerDependencies?: Readonly<Record<string, string>>
  readonly optionalDependencies?: Readonly<Record<string, string>>
}

/** One package of the workspace. */
export interface WorkspacePackage {
  /** From the root: `packages/kit`. */
  readonly folder: string
  readonly manifest: Manifest
}

/** Reads a manifest. @param folder from the root; `.` is the root itself. */
export function readManifest(folder: string): Manifest {
  return JSON.parse(readFileSync(join(workspaceRoot, folder, 'package.json'), 'utf8')) as Manifest
}

/** Lists the packages in some of the workspace's folders, in the order of their names. */
export function listPackages(
  parents: readonly ('packages' | 'templates' | 'examples')[] = ['packages', 'templates'],
): WorkspacePackage[] {
  return parents
    .flatMap((parent) =>
      existsSync(join(workspaceRoot, parent))
        ? readdirSync(join(workspaceRoot, parent))
            .toSorted()
            .map((name) => `${parent}/${name}`)
        : [],
    )
    .filter((folder) => existsSync(join(workspaceRoot, folder, 'package.json')))
    .map((folder) => ({ folder, manifest: readManifest(folder) }))
}

/** Lists the packages that are published. */
export function listPublished(): WorkspacePackage[] {
  return listPackages(['packages']).filter(({ manifest }) => manifest.private !== true)
}

/** Lists the sources of a package: paths below `src` without their ending. @param folder from the root. */
export function listSources(folder: string): string[] {
  const found = readdirSync(join(workspaceRoot, folder, 'src'), {
    recursive: true,
    encoding: 'utf8',
  })
  return found.filter((path) => path.endsWith('.ts')).map((path) => path.slice(0, -'.ts'.length))
}

/** Lists every file that is in git or would be after `git add`, from the root. */
export function listFiles(): string[] {
  return execFileSync('git', ['ls-files', '-z', '--cached', '--others', '--exclude-standard'], {
    cwd: workspaceRoot,
    encoding: 'utf8',
    maxBuffer: 64 * 1024 * 1024,
  })
    .split('\0')
    .filter((path) => path !== '' && existsSync(join(workspaceRoot, path)))
    .toSorted()
}

/** Reads the catalog of pnpm-workspace.yaml: package → range. */
export function readCatalog(): ReadonlyMap<string, string> {
  const text = readFileSync(join(workspaceRoot, 'pnpm-workspace.yaml'), 'utf8')
  const section = /^catalog:\n((?:[ #].*\n|\n)*)/m.exec(text)?.[1] ?? ''
  const entries = section.matchAll(/^ +'?([^\s'#:]+)'?: +'?([^\s']+)'?/gm)
  return new Map([...entries].map(([, name, range]) => [name!, range!]))
}
