/** The key file that the plugin makes itself, and the evidence that one was lost. */
import { generateKeyPairSync } from 'node:crypto'
import { access, open, readdir, unlink } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { PARAPET_AUDIT_LOG_KEY_LOST } from '../errors.ts'
import { syncFolder } from '../wal/files.ts'

const PRIVATE_FILE = 0o600
/** What a log leaves in its directory. */
const TRACES = ['seen.json', join('log', 'state.json')]

/**
 * Makes `key.pem`, which only its owner can read, unless it exists.
 *
 * @param replacesLostKey whether a new key is made although a log exists.
 * @throws PARAPET_AUDIT_LOG_KEY_LOST the directory has a log, or its spool records, but no key.
 */
export async function useKeyFile(directory: string, replacesLostKey: boolean): Promise<string> {
  const file = join(directory, 'key.pem')
  if (await exists(file)) return file
  if (!replacesLostKey && (await hasLog(directory))) throw new PARAPET_AUDIT_LOG_KEY_LOST(file)
  await makeKeyFile(file)
  return file
}

async function makeKeyFile(file: string): Promise<void> {
  const { privateKey } = generateKeyPairSync('ed25519')
  try {
    const handle = await open(file, 'wx', PRIVATE_FILE)
    try {
      await handle.writeFile(privateKey.export({ format: 'pem', type: 'pkcs8' }))
      await handle.sync()
    } catch (error) {
      // A partial key file would stop every later start.
      await unlink(file)
      throw error
    } finally {
      await handle.close()
    }
    await syncFolder(dirname(file))
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
  }
}

async function hasLog(directory: string): Promise<boolean> {
  for (const trace of TRACES) if (await exists(join(directory, trace))) return true
  const spooled = await readdir(join(directory, 'spool')).catch(() => [])
  return spooled.some((name) => name.endsWith('.wal'))
}

function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  )
}
