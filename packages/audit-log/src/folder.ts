/** The folder of the plugin: made private, and kept out of a repository. */
import { access, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { ephemeralDirectory } from './options.ts'

const PRIVATE_FOLDER = 0o700
const PRIVATE_FILE = 0o600

/** @returns the folder, and what to do with it when the app closes. */
export async function openFolder(
  directory: string | typeof ephemeralDirectory,
): Promise<{ readonly folder: string; readonly remove: () => Promise<void> }> {
  if (directory === ephemeralDirectory) {
    const folder = await mkdtemp(join(tmpdir(), 'audit-log-'))
    return { folder, remove: () => rm(folder, { recursive: true, force: true }) }
  }
  await mkdir(directory, { recursive: true, mode: PRIVATE_FOLDER })
  const ignore = join(directory, '.gitignore')
  // The folder contains the signing key; `git add -A` must not publish it.
  await access(ignore).catch(() => writeFile(ignore, '*\n', { mode: PRIVATE_FILE }))
  return { folder: directory, remove: async () => {} }
}
