/** The encryption keys of a server with an embedded database, saved beside that database. */
import { readFile, rename, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { exportKeyset, generateKeyset } from '@parapet/field-encryption'
import { generateCipherKey } from '@parapet/kit'
import { PARAPET_REFERENCE_KEYS_UNREADABLE } from '../errors.ts'
import { readConfig, type Config } from './environment.ts'

/** A JSON object with the names of the environment variables, which take precedence. */
const KEYS_FILE = 'keys.json'

/**
 * Adds the keys in the data folder to a configuration. If the folder has no key file, keys are
 * generated and saved; without saved keys, encrypted data would be unreadable after a restart.
 *
 * The caller must hold the lock of the folder.
 *
 * @throws PARAPET_REFERENCE_KEYS_UNREADABLE the file is not readable JSON. No new keys are made,
 *   because they could not decrypt the existing data.
 * @throws PARAPET_SECRETS_INVALID_ENVIRONMENT a key in the file is malformed.
 */
export async function withSavedKeys(config: Config): Promise<Config> {
  const file = join(config.dataDir, KEYS_FILE)
  const saved = readConfig((await readKeys(file)) ?? (await createKeys(file)))
  return Object.freeze({
    ...config,
    fieldKeyset: config.fieldKeyset ?? saved.fieldKeyset,
    mfaKeys: config.mfaKeys ?? saved.mfaKeys,
    auditDir: config.auditDir ?? join(config.dataDir, 'audit'),
  })
}

type Keys = Readonly<Record<string, string>>

async function readKeys(file: string): Promise<Keys | undefined> {
  try {
    return JSON.parse(await readFile(file, 'utf8')) as Keys
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw new PARAPET_REFERENCE_KEYS_UNREADABLE(file)
  }
}

async function createKeys(file: string): Promise<Keys> {
  const keys = { FIELD_KEYSET: exportKeyset(generateKeyset()), MFA_KEYS: generateCipherKey() }
  // Written to another name and renamed, so that a crash cannot leave half a file.
  await writeFile(`${file}.new`, JSON.stringify(keys), { mode: 0o600, flush: true })
  await rename(`${file}.new`, file)
  return keys
}
