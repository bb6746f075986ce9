/** PGlite for tests: one whose cluster was created once on this machine, and not again for each test. */
import { randomUUID } from 'node:crypto'
import { existsSync } from 'node:fs'
import { mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { tmpdir, userInfo } from 'node:os'
import { join } from 'node:path'
import type { PGlite, PGliteOptions } from '@electric-sql/pglite'

/**
 * Opens an empty PGlite, in memory or in a new folder. `initdb` takes some five seconds of CPU, so its result is kept as a
 * file in the temporary folder, and the next call, also of another process, loads it in one.
 *
 * @param options `dataDir`: a folder that does not exist yet. @default in memory
 * @returns the database; the caller closes it.
 */
export async function openPglite(
  options: Pick<PGliteOptions, 'dataDir' | 'extensions'> = {},
): Promise<PGlite> {
  const { PGlite } = await import('@electric-sql/pglite')
  // Not `openAsBlob`: its file handle would stay open.
  const loadDataDir = new Blob([await readFile(await (emptyCluster ??= findOrCreate()))])
  return PGlite.create({ ...options, loadDataDir })
}

/** The path of a tar file that holds the data folder of an empty cluster. */
let emptyCluster: Promise<string> | undefined

async function findOrCreate(): Promise<string> {
  const manifest = new URL('../package.json', import.meta.resolve('@electric-sql/pglite'))
  const { version } = JSON.parse(await readFile(manifest, 'utf8')) as { version: string }
  // The folder belongs to one user, who alone can write to it.
  const folder = join(tmpdir(), `parapet-pglite-${userInfo().uid}`)
  await mkdir(folder, { recursive: true, mode: 0o700 })
  const path = join(folder, `cluster-${version}.tar`)
  if (existsSync(path)) return path
  const { PGlite } = await import('@electric-sql/pglite')
  const db = await PGlite.create()
  // The dump is of a running cluster. The timer of its recovery would keep the process alive.
  await db.exec('ALTER SYSTEM SET log_startup_progress_interval = 0')
  const dump = await db.dumpDataDir('none')
  await db.close()
  // Complete under its name at once: other test processes look for it at the same time.
  const draft = join(folder, `${randomUUID()}.tar`)
  try {
    await writeFile(draft, dump.stream())
    await rename(draft, path)
  } finally {
    await rm(draft, { force: true })
  }
  return path
}
