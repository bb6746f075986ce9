/** The provider that needs nothing but a keyset: in the environment, in a file, under a passphrase. */
import { createSecretKey, scrypt } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { promisify } from 'node:util'
import { takeRandom } from '@parapet/kit'
import { createAead, type Aead } from './aead.ts'
import { exportEncryptedKeyset, parseEncryptedKeyset } from './encrypted-keyset.ts'
import {
  PARAPET_FIELD_ENCRYPTION_INVALID_ARGUMENT,
  PARAPET_FIELD_ENCRYPTION_INVALID_KEYSET,
} from './errors.ts'
import { parseKeyset, parseObject, type Keyset } from './keyset.ts'
import { bind, type KeyProvider } from './provider.ts'

/** What {@link createLocalProvider} takes: the keyset, or where it is; one of the three. */
export interface LocalProviderOptions {
  /** Tink's JSON, in clear or as {@link lockKeyset} locked it. */
  readonly keyset?: string
  /** Path of a file that holds it. */
  readonly file?: string
  /** Name of the variable of the environment that holds it. */
  readonly env?: string
  /** Opens a locked keyset. */
  readonly passphrase?: string
}

/** 128 MiB for one guess; asked once for each process, in a thread of its own. @see RFC 7914, OWASP Password Storage */
const COST = { N: 131_072, r: 8, p: 1 } as const
const MAX_COST = 2_097_152
const MAX_MEMORY = 2 ** 31
const KEY_BYTES = 32
const SALT_BYTES = 16
const derive = promisify<string, Buffer, number, object, Buffer>(scrypt)

/** Makes the provider. The keyset is read, and a passphrase stretched, once: at the first call. */
export function createLocalProvider(options: LocalProviderOptions): KeyProvider {
  const given = [options.keyset, options.file, options.env].filter((each) => each !== undefined)
  if (given.length !== 1) {
    const problem = 'must be given as one of keyset, file and env'
    throw new PARAPET_FIELD_ENCRYPTION_INVALID_ARGUMENT('the keyset', problem)
  }
  let loading: Promise<Aead> | undefined
  const aeadOf = (): Promise<Aead> => {
    if (loading !== undefined) return loading
    const attempt = load(options).then((keyset) => createAead(keyset))
    loading = attempt
    // A file that was missing may be there at the next call.
    attempt.catch(() => (loading = undefined))
    return attempt
  }
  return {
    wrap: async (dataKey, context) => (await aeadOf()).seal(dataKey, bind(context)),
    unwrap: async (wrapped, context) => (await aeadOf()).open(Buffer.from(wrapped), bind(context)),
    describe: () => ({ id: 'local', exportable: true }),
    health: async () => void (await aeadOf()),
  }
}

async function load({ keyset, file, env, passphrase }: LocalProviderOptions): Promise<Keyset> {
  const text =
    keyset ?? (file === undefined ? process.env[env!] : (await readFile(file, 'utf8')).trim())
  if (text === undefined || text === '') {
    throw new PARAPET_FIELD_ENCRYPTION_INVALID_KEYSET(`the variable ${env} is empty`)
  }
  return passphrase === undefined ? parseKeyset(text) : unlockKeyset(text, passphrase)
}

/**
 * Locks a keyset with a passphrase: Tink's JSON for encrypted keysets under a key that scrypt makes of
 * the passphrase, with what scrypt needs beside it.
 *
 * @param keyset Tink's JSON, in clear.
 * @see docs/spec/key-record.md
 */
export async function lockKeyset(keyset: string, passphrase: string): Promise<string> {
  const salt = Buffer.from(takeRandom(SALT_BYTES))
  const aead = await stretch(passphrase, salt, COST)
  const locked = await exportEncryptedKeyset(parseKeyset(keyset), (bytes) => aead.seal(bytes, salt))
  const kdf = { name: 'scrypt', ...COST, salt: salt.toString('base64') }
  return JSON.stringify({ kdf, ...parseObject(locked) })
}

async function unlockKeyset(text: string, passphrase: string): Promise<Keyset> {
  const kdf = (parseObject(text)['kdf'] ?? {}) as Record<string, unknown>
  const { name, N, r, p, salt } = kdf
  const bounded =
    Number.isInteger(N) &&
    (N as number) >= COST.N &&
    (N as number) <= MAX_COST &&
    r === 8 &&
    p === 1
  if (name !== 'scrypt' || !bounded || typeof salt !== 'string') {
    throw new PARAPET_FIELD_ENCRYPTION_INVALID_KEYSET('it is not locked with a passphrase')
  }
  const bytes = Buffer.from(salt, 'base64')
  const aead = await stretch(passphrase, bytes, { N: N as number, r, p })
  return parseEncryptedKeyset(text, (sealed) => aead.open(sealed, bytes))
}

/** The key that a passphrase stands for, under the id 1. */
async function stretch(
  passphrase: string,
  salt: Buffer,
  cost: { readonly N: number; readonly r: number; readonly p: number },
): Promise<Aead> {
  if (typeof passphrase !== 'string' || passphrase.length < 12) {
    const problem = 'must have at least 12 characters'
    throw new PARAPET_FIELD_ENCRYPTION_INVALID_ARGUMENT('the passphrase', problem)
  }
  const secret = await derive(passphrase.normalize('NFKC'), salt, KEY_BYTES, {
    ...cost,
    maxmem: MAX_MEMORY,
  })
  const key = { id: 1, status: 'enabled', secret: createSecretKey(secret) } as const
  secret.fill(0)
  return createAead({ primaryKeyId: 1, keys: [key] })
}
