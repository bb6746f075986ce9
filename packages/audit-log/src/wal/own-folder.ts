/** One process per folder, by kit's lock. */
import { lockFolder, PARAPET_KIT_FOLDER_IN_USE } from '@parapet/kit'
import { PARAPET_AUDIT_LOG_IN_USE } from '../errors.ts'

/**
 * Makes a folder and locks it until the returned function is called or the process ends.
 *
 * @throws PARAPET_AUDIT_LOG_IN_USE another process, or another app of this process, has locked it.
 */
export async function ownFolder(folder: string): Promise<() => Promise<void>> {
  try {
    return await lockFolder(folder)
  } catch (error) {
    if (!(error instanceof PARAPET_KIT_FOLDER_IN_USE)) throw error
    const [, owner = 'another process'] = / is in use by (.*)$/s.exec(error.message) ?? []
    throw new PARAPET_AUDIT_LOG_IN_USE(folder, owner)
  }
}
