/** A provider whose root key is a keyset in an environment variable or a file. */
import { readFile } from 'node:fs/promises'
import { createAead, type Aead } from '../crypto/aead.ts'
import { parseKeyset } from '../crypto/keyset-json.ts'
import type { Keyset } from '../crypto/keyset.ts'
import {
  PARAPET_FIELD_ENCRYPTION_INVALID_ARGUMENT,
  PARAPET_FIELD_ENCRYPTION_INVALID_KEYSET,
} from '../errors.ts'
import { unlockKeyset } from './passphrase.ts'
import { encodeKeyContext, type KeyProvider } from './provider.ts'

/** The options of {@link createLocalProvider}: exactly one of `keyset`, `file` and `env`. */
export interface LocalProviderOptions {
  /** Tink's JSON, unencrypted or locked by `lockKeyset`. */
  readonly keyset?: string
  /** Path of a file that holds the keyset. */
  readonly file?: string
  /** Name of an environment variable that holds the keyset. */
  readonly env?: string
  /** Unlocks a keyset that `lockKeyset` locked. */
  readonly passphrase?: string
}

/**
 * Creates the provider. The keyset is read, and a passphrase stretched, once: at the first call.
 *
 * @throws PARAPET_FIELD_ENCRYPTION_INVALID_ARGUMENT not exactly one of `keyset`, `file`, `env` is given.
 */
export function createLocalProvider(options: LocalProviderOptions): KeyProvider {
  const given = [options.keyset, options.file, options.env].filter((each) => each !== undefined)
  if (given.length !== 1) {
    throw new PARAPET_FIELD_ENCRYPTION_INVALID_ARGUMENT(
      'the options of the local provider',
      `must have exactly one of "keyset", "file" and "env", got ${given.length}`,
    )
  }
  let loading: Promise<Aead> | undefined
  const loadAead = (): Promise<Aead> => {
    if (loading !== undefined) return loading
    const attempt = loadKeyset(options).then((keyset) => createAead(keyset))
    loading = attempt
    // The next call tries again: a missing file may exist by then.
    attempt.catch(() => (loading = undefined))
    return attempt
  }
  return {
    wrap: async (dataKey, context) => (await loadAead()).seal(dataKey, encodeKeyContext(context)),
    unwrap: async (wrapped, context) =>
      (await loadAead()).open(Buffer.from(wrapped), encodeKeyContext(context)),
    describe: () => ({ id: 'local', exportable: true }),
    health: async () => void (await loadAead()),
  }
}

/** @throws PARAPET_FIELD_ENCRYPTION_INVALID_KEYSET */
async function readKeyFile(file: string): Promise<string> {
  try {
    return (await readFile(file, 'utf8')).trim()
  } catch (cause) {
    const { code = '' } = cause as NodeJS.ErrnoException
    const problem = `the file "${file}" cannot be read (${code})`
    throw Object.assign(new PARAPET_FIELD_ENCRYPTION_INVALID_KEYSET(problem), { cause })
  }
}

async function loadKeyset(options: LocalProviderOptions): Promise<Keyset> {
  const { keyset, file, env, passphrase } = options
  const text = keyset ?? (file === undefined ? process.env[env!] : await readKeyFile(file))
  if (text === undefined || text === '') {
    const source = env === undefined ? 'its text' : `the environment variable ${env}`
    throw new PARAPET_FIELD_ENCRYPTION_INVALID_KEYSET(`${source} is empty`)
  }
  return passphrase === undefined ? parseKeyset(text) : unlockKeyset(text, passphrase)
}
