/** Locks the data folder: two processes with one embedded database would damage it. */
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { PARAPET_REFERENCE_DATA_IN_USE } from '../errors.ts'

/**
 * Creates the folder, readable by this user only, and a lock file with the id of this process.
 *
 * The lock detects a second server that is started by mistake. A lock file of a process that no
 * longer exists is replaced. It does not protect a folder that several machines share.
 *
 * @returns a function that releases the lock.
 * @throws PARAPET_REFERENCE_DATA_IN_USE
 */
export async function lockFolder(folder: string): Promise<() => Promise<void>> {
  await mkdir(folder, { recursive: true, mode: 0o700 })
  const file = join(folder, 'lock')
  const acquire = () => writeFile(file, String(process.pid), { flag: 'wx', mode: 0o600 })
  try {
    await acquire()
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
    const owner = Number(await readFile(file, 'utf8'))
    if (isOtherProcess(owner)) {
      throw new PARAPET_REFERENCE_DATA_IN_USE(owner, file)
    }
    await rm(file)
    await acquire()
  }
  return () => rm(file, { force: true })
}

/**
 * A lock with this process's own id was left by an earlier process: the main process of a container
 * has the id 1 after every restart.
 */
function isOtherProcess(id: number): boolean {
  if (!Number.isSafeInteger(id) || id < 1 || id === process.pid) return false
  try {
    process.kill(id, 0)
    return true
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM'
  }
}
