/** The encryption keys of a server with an embedded database, saved beside that database. */
import { existsSync } from 'node:fs'
import { readFile, rename, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { exportKeyset, generateKeyset } from '@parapet/field-encryption'
import { generateCipherKey } from '@parapet/kit'
import { generateSecret } from '@parapet/sessions'
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
 * @throws PARAPET_REFERENCE_KEYS_UNREADABLE the file is not readable JSON, or an earlier start had one and it is
 *   lost. No new keys are made, because they could not decrypt the existing data.
 * @throws PARAPET_SECRETS_INVALID_ENVIRONMENT a key in the file is malformed.
 */
export async function withSavedKeys(config: Config): Promise<Config> {
  const file = join(config.dataDir, KEYS_FILE)
  const known = await readKeys(file)
  if (known === undefined && lacksKeys(config) && existsSync(embeddedAuditDir(config))) {
    throw new PARAPET_REFERENCE_KEYS_UNREADABLE(file)
  }
  // Refuses a malformed key before the file is changed.
  readConfig(known ?? {})
  const saved = readConfig(await completeKeys(file, known))
  return Object.freeze({
    ...config,
    fieldKeyset: config.fieldKeyset ?? saved.fieldKeyset,
    mfaKeys: config.mfaKeys ?? saved.mfaKeys,
    privacyKeys: config.privacyKeys ?? saved.privacyKeys,
    privacySecret: config.privacySecret ?? saved.privacySecret,
    // It seals the locks of accounts, which are in the database.
    sessionSecrets: config.sessionSecrets ?? saved.sessionSecrets,
    privacyLedgerDir: config.privacyLedgerDir ?? join(config.dataDir, 'ledger'),
    auditDir: config.auditDir ?? embeddedAuditDir(config),
  })
}

/** The folder of the audit log beside an embedded database. */
export function embeddedAuditDir({ dataDir }: Pick<Config, 'dataDir'>): string {
  return join(dataDir, 'audit')
}

function lacksKeys(config: Config): boolean {
  const { fieldKeyset, mfaKeys, privacyKeys, privacySecret, sessionSecrets } = config
  return [fieldKeyset, mfaKeys, privacyKeys, privacySecret, sessionSecrets].includes(undefined)
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

/** Adds the keys that an older version of this server did not need. */
async function completeKeys(file: string, known: Keys = {}): Promise<Keys> {
  const missing = Object.entries(GENERATORS).filter(([name]) => known[name] === undefined)
  if (missing.length === 0) return known
  const made = missing.map(([name, generate]) => [name, generate()] as const)
  const keys = { ...known, ...Object.fromEntries(made) }
  // Written to another name and renamed, so that a crash cannot leave half a file.
  await writeFile(`${file}.new`, JSON.stringify(keys), { mode: 0o600, flush: true })
  await rename(`${file}.new`, file)
  return keys
}

const GENERATORS: Readonly<Record<string, () => string>> = {
  FIELD_KEYSET: () => exportKeyset(generateKeyset()),
  MFA_KEYS: generateCipherKey,
  PRIVACY_KEYS: generateCipherKey,
  PRIVACY_SECRET: generateSecret,
  SESSION_SECRET: generateSecret,
}
