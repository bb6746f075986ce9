/** The keys of what a server on its own database keeps: made once, in the folder of that database. */
import { readFile, rename, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { exportKeyset, generateKeyset } from '@parapet/field-encryption'
import { generateCipherKey } from '@parapet/kit'
import { readConfig, type Config } from './config.ts'
import { PARAPET_REFERENCE_KEYS_UNREADABLE } from './errors.ts'

/** Named as in the environment, which goes before what is kept. */
const KEYS_FILE = 'keys.json'

/**
 * Completes a configuration with the keys in the data folder, which are made where there are none.
 * Without them whatever is sealed or signed would have to end with the process.
 *
 * Nobody else may have the folder open.
 *
 * @throws PARAPET_REFERENCE_KEYS_UNREADABLE and makes no others: they would read nothing of before.
 * @throws PARAPET_REFERENCE_INVALID_ENVIRONMENT a key in the file is none.
 */
export async function withKeptKeys(config: Config): Promise<Config> {
  const file = join(config.dataDir, KEYS_FILE)
  const kept = readConfig((await readKeys(file)) ?? (await makeKeys(file)))
  return Object.freeze({
    ...config,
    fieldKeyset: config.fieldKeyset ?? kept.fieldKeyset,
    mfaKeys: config.mfaKeys ?? kept.mfaKeys,
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

async function makeKeys(file: string): Promise<Keys> {
  const keys = { FIELD_KEYSET: exportKeyset(generateKeyset()), MFA_KEYS: generateCipherKey() }
  // Whole or not at all, whenever the machine stops.
  await writeFile(`${file}.new`, JSON.stringify(keys), { mode: 0o600, flush: true })
  await rename(`${file}.new`, file)
  return keys
}
