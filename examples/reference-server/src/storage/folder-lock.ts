/** Keeps two processes from opening one data folder: the embedded database would be damaged. */
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { PARAPET_REFERENCE_DATA_IN_USE } from './errors.ts'

/**
 * Makes the folder, for this user only, and marks it as taken by this process.
 *
 * It stops the common slip, a second start beside the first, and takes over from a process that
 * died. Across machines that share the folder it is no protection.
 *
 * @returns a function that gives the folder free.
 * @throws PARAPET_REFERENCE_DATA_IN_USE
 */
export async function lockFolder(folder: string): Promise<() => Promise<void>> {
  await mkdir(folder, { recursive: true, mode: 0o700 })
  const file = join(folder, 'lock')
  const take = () => writeFile(file, String(process.pid), { flag: 'wx', mode: 0o600 })
  try {
    await take()
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
    const holder = Number(await readFile(file, 'utf8'))
    if (isOtherProcess(holder)) {
      throw new PARAPET_REFERENCE_DATA_IN_USE(holder, file)
    }
    await rm(file)
    await take()
  }
  return () => rm(file, { force: true })
}

/** In a container the first process has number 1 every time, so one's own number is a leftover. */
function isOtherProcess(id: number): boolean {
  if (!Number.isSafeInteger(id) || id < 1 || id === process.pid) return false
  try {
    process.kill(id, 0)
    return true
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM'
  }
}
