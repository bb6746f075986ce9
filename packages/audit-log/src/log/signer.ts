/** Who signs the checkpoints: a key from a file, from memory, or one that never leaves its device. */
import {
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  sign,
  type KeyObject,
} from 'node:crypto'
import { open, readFile, stat, unlink } from 'node:fs/promises'
import { dirname } from 'node:path'
import { PARAPET_AUDIT_LOG_KEY_UNUSABLE } from '../errors.ts'
import { syncFolder } from '../wal/sync.ts'
import { createNoteKey, isSignature, type NoteKey } from './note.ts'

/** Signs for a log. */
export interface LogSigner {
  readonly key: NoteKey
  readonly sign: (bytes: Buffer) => Promise<Uint8Array>
}

/** An Ed25519 key in PEM (PKCS #8), encrypted or not: from a file, or handed over as text. */
export interface PemKey {
  readonly file?: string
  /** The PEM itself, for instance from a secrets manager. */
  readonly pem?: string
  readonly passphrase?: string
}

/** A key that stays elsewhere, for instance in a KMS. */
export interface RemoteKey {
  readonly publicKey: KeyObject
  /** An Ed25519 signature of 64 bytes. */
  sign(bytes: Uint8Array): Promise<Uint8Array>
}

const OTHERS = 0o077
const PRIVATE_FILE = 0o600

/**
 * Makes the signer of a log.
 *
 * @throws PARAPET_AUDIT_LOG_KEY_UNUSABLE no Ed25519 key, a wrong passphrase, or a file that others
 *   may read.
 */
export async function createSigner(
  origin: string,
  source: PemKey | RemoteKey | KeyObject,
): Promise<LogSigner> {
  if ('sign' in source) {
    const key = createNoteKey(origin, requireEd25519(source.publicKey))
    return { key, sign: (bytes) => requireSignature(source.sign(bytes)) }
  }
  const privateKey = isKeyObject(source) ? source : readPem(await pemOf(source), source)
  if (privateKey.type !== 'private') refuse('it must be a private key')
  const key = createNoteKey(origin, createPublicKey(requireEd25519(privateKey)))
  return { key, sign: async (bytes) => sign(null, bytes, privateKey) }
}

/**
 * Reads the key of a file, or makes one there, which only its owner may read.
 *
 * @throws PARAPET_AUDIT_LOG_KEY_UNUSABLE the file is no such key.
 */
export async function useKeyFile(file: string): Promise<PemKey> {
  const { privateKey } = generateKeyPairSync('ed25519')
  try {
    const handle = await open(file, 'wx', PRIVATE_FILE)
    try {
      await handle.writeFile(privateKey.export({ format: 'pem', type: 'pkcs8' }))
      await handle.sync()
    } catch (error) {
      // Half a key would be refused at every later start.
      await unlink(file)
      throw error
    } finally {
      await handle.close()
    }
    await syncFolder(dirname(file))
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
  }
  return { file }
}

function isKeyObject(source: PemKey | KeyObject): source is KeyObject {
  return 'asymmetricKeyType' in source
}

async function pemOf({ file, pem }: PemKey): Promise<string> {
  if (pem !== undefined) return pem
  if (file === undefined) refuse('neither a file nor a PEM is given')
  try {
    const { mode } = await stat(file)
    if (process.platform !== 'win32' && (mode & OTHERS) !== 0) {
      refuse(`${file} may be read by others: chmod 600`)
    }
    return await readFile(file, 'utf8')
  } catch (error) {
    throw error instanceof PARAPET_AUDIT_LOG_KEY_UNUSABLE
      ? error
      : new PARAPET_AUDIT_LOG_KEY_UNUSABLE(`${file} cannot be read`)
  }
}

function readPem(pem: string, { passphrase }: PemKey): KeyObject {
  try {
    return createPrivateKey({
      key: pem,
      ...(passphrase === undefined ? undefined : { passphrase }),
    })
  } catch {
    // The library's message may quote what it read.
    throw new PARAPET_AUDIT_LOG_KEY_UNUSABLE(
      'it is no private key in PEM, or the passphrase is wrong',
    )
  }
}

function requireEd25519(key: KeyObject): KeyObject {
  if (key.asymmetricKeyType !== 'ed25519') refuse('it must be an Ed25519 key')
  return key
}

async function requireSignature(signature: Promise<Uint8Array>): Promise<Uint8Array> {
  const bytes = await signature
  if (!isSignature(bytes)) refuse('the signer returned no Ed25519 signature')
  return bytes
}

function refuse(problem: string): never {
  throw new PARAPET_AUDIT_LOG_KEY_UNUSABLE(problem)
}
