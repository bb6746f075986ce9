/** The key that signs checkpoints: from a file, from memory, or held by a remote service. */
import { createPrivateKey, createPublicKey, sign, type KeyObject } from 'node:crypto'
import { readFile, stat } from 'node:fs/promises'
import { PARAPET_AUDIT_LOG_KEY_UNUSABLE } from '../errors.ts'
import { createNoteKey, isSignature, type NoteKey } from './signed-note.ts'

/** Signs the checkpoints of a log. */
export interface LogSigner {
  readonly key: NoteKey
  readonly sign: (bytes: Buffer) => Promise<Uint8Array>
  /** The private key; absent if a remote service holds it. */
  readonly privateKey?: KeyObject
}

/** An Ed25519 key in PEM (PKCS #8), encrypted or not, as a file or as text. */
export interface PemKey {
  readonly file?: string
  /** The PEM text, for example from a secrets manager. */
  readonly pem?: string
  readonly passphrase?: string
  /** The environment variable that contains the passphrase. */
  readonly passphraseEnv?: string
  /** The file that contains the passphrase; a line break at its end does not count. */
  readonly passphraseFile?: string
}

/** A key that a remote service holds, for example a KMS. */
export interface RemoteKey {
  readonly publicKey: KeyObject
  /** Returns an Ed25519 signature of 64 bytes. */
  sign(bytes: Uint8Array): Promise<Uint8Array>
}

/** The key did not sign: it is remote and failed, or did not answer in time. */
export class SigningFailed extends Error {
  override readonly name = 'SigningFailed'
}

const OTHERS = 0o077

/**
 * Makes the signer of a log.
 *
 * @throws PARAPET_AUDIT_LOG_KEY_UNUSABLE the key is not Ed25519, the passphrase is wrong, or other
 *   users can read the file.
 */
export async function createSigner(
  origin: string,
  source: PemKey | RemoteKey | KeyObject,
): Promise<LogSigner> {
  if ('sign' in source) {
    const key = createNoteKey(origin, requireEd25519(source.publicKey))
    return { key, sign: (bytes) => requireSignature(source.sign(bytes)) }
  }
  const privateKey = isKeyObject(source) ? source : await readPem(source)
  if (privateKey.type !== 'private') refuse('it must be a private key, got a public or secret key')
  const key = createNoteKey(origin, createPublicKey(requireEd25519(privateKey)))
  return { key, sign: async (bytes) => sign(null, bytes, privateKey), privateKey }
}

function isKeyObject(source: PemKey | KeyObject): source is KeyObject {
  return 'asymmetricKeyType' in source
}

async function pemOf({ file, pem }: PemKey): Promise<string> {
  if (pem !== undefined) return pem
  if (file === undefined) refuse('"key" must have "file" or "pem", got neither')
  try {
    const { mode } = await stat(file)
    if (process.platform !== 'win32' && (mode & OTHERS) !== 0) {
      refuse(`other users can read ${file}; run chmod 600 on it`)
    }
    return await readFile(file, 'utf8')
  } catch (error) {
    throw error instanceof PARAPET_AUDIT_LOG_KEY_UNUSABLE
      ? error
      : new PARAPET_AUDIT_LOG_KEY_UNUSABLE(
          `the file ${file} cannot be read; check its path and permissions`,
        )
  }
}

async function readPem(source: PemKey): Promise<KeyObject> {
  const pem = await pemOf(source)
  const passphrase = await passphraseOf(source)
  try {
    return createPrivateKey({
      key: pem,
      ...(passphrase === undefined ? undefined : { passphrase }),
    })
  } catch {
    // Not the library's message: it may contain a part of the key.
    throw new PARAPET_AUDIT_LOG_KEY_UNUSABLE(
      'it must be a private key in PEM, and the passphrase must be correct',
    )
  }
}

async function passphraseOf(source: PemKey): Promise<string | undefined> {
  const { passphrase, passphraseEnv, passphraseFile } = source
  const given = [passphrase, passphraseEnv, passphraseFile].filter((item) => item !== undefined)
  if (given.length > 1) {
    refuse('only one of "passphrase", "passphraseEnv" and "passphraseFile" may be set')
  }
  if (passphraseEnv !== undefined) {
    const value = process.env[passphraseEnv]
    if (value !== undefined && value !== '') return value
    refuse(`the environment variable ${passphraseEnv} must contain the passphrase, but is not set`)
  }
  if (passphraseFile === undefined) return passphrase
  const text = await readFile(passphraseFile, 'utf8').catch(() =>
    refuse(`the file ${passphraseFile} must contain the passphrase, but cannot be read`),
  )
  return text.replace(/\r?\n$/, '')
}

function requireEd25519(key: KeyObject): KeyObject {
  if (key.asymmetricKeyType !== 'ed25519')
    refuse(`it must be an Ed25519 key, got ${key.asymmetricKeyType ?? 'a secret key'}`)
  return key
}

async function requireSignature(signature: Promise<Uint8Array>): Promise<Uint8Array> {
  const bytes = await signature
  if (!isSignature(bytes)) refuse(`sign() must return 64 bytes, got ${bytes.length}`)
  return bytes
}

function refuse(problem: string): never {
  throw new PARAPET_AUDIT_LOG_KEY_UNUSABLE(problem)
}
