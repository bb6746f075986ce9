/** The public keys that the command trusts, and the one that it prints. */
import { createPrivateKey, createPublicKey, type KeyObject } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { parseWitnessKey } from '../log/cosignature.ts'
import {
  createNoteKey,
  formatVerifierKey,
  parseVerifierKey,
  type NoteKey,
} from '../log/signed-note.ts'
import { createSigner, type PemKey } from '../log/signing-key.ts'
import { UsageError } from './usage.ts'

/** A key with its name, or a PEM without one: the log knows its name. */
export type GivenKey = NoteKey | KeyObject

/** Reads `--key`: a verifier key or a PEM, as text or in a file. */
export async function readKey(text: string): Promise<GivenKey> {
  const given = parseKey(text) ?? parseKey(await readFile(text, 'utf8').catch(() => ''))
  if (given !== undefined) return given
  throw new UsageError(
    '--key must be a public key (name+id+key or PEM), or a file that contains one',
  )
}

/** Gives the keys in PEM the name of the log. */
export function nameKeys(keys: readonly GivenKey[], origin: string): NoteKey[] {
  return keys.map((key) => ('publicKey' in key ? key : createNoteKey(origin, key)))
}

/** Reads `--witness`: the verifier key of a witness, as text or in a file. */
export async function readWitnessKey(text: string): Promise<NoteKey> {
  const given =
    parseWitnessKey(text) ?? parseWitnessKey((await readFile(text, 'utf8').catch(() => '')).trim())
  if (given !== undefined) return given
  throw new UsageError(
    '--witness must be the verifier key of a witness (name+id+key of type 0x04), or a file with it',
  )
}

/** The private key of a log. */
export interface KeySource {
  /** The option `directory` of the plugin. */
  readonly directory: string | undefined
  /** A private key in PEM. @default `key.pem` in the directory */
  readonly file: string | undefined
  /** The name of the log. @default that of the log in the directory */
  readonly origin: string | undefined
  /** How an encrypted key is decrypted. */
  readonly secret: Pick<PemKey, 'passphraseEnv' | 'passphraseFile'>
}

/** The public key of a private one. @throws PARAPET_AUDIT_LOG_KEY_UNUSABLE */
export async function verifierKeyOf(source: KeySource): Promise<string> {
  const { directory, file, secret } = source
  if (directory === undefined && file === undefined) {
    throw new UsageError('--directory or --key must be given')
  }
  const origin = source.origin ?? (await storedOrigin(directory))
  if (origin === undefined) {
    throw new UsageError('--origin must name the log, because no --directory with a log is given')
  }
  const pem = await readFile(file ?? join(directory!, 'key.pem'), 'utf8')
  return formatVerifierKey((await createSigner(origin, { pem, ...secret })).key)
}

async function storedOrigin(directory: string | undefined): Promise<string | undefined> {
  if (directory === undefined) return undefined
  const text = await readFile(join(directory, 'log', 'state.json'), 'utf8').catch(() => '{}')
  const { origin } = JSON.parse(text) as { origin?: string }
  return origin
}

function parseKey(text: string): GivenKey | undefined {
  const trimmed = text.trim()
  if (!trimmed.startsWith('-----BEGIN')) return parseVerifierKey(trimmed)
  try {
    const isPrivate = trimmed.includes('PRIVATE KEY')
    const key = isPrivate ? createPublicKey(createPrivateKey(trimmed)) : createPublicKey(trimmed)
    return key.asymmetricKeyType === 'ed25519' ? key : undefined
  } catch {
    return undefined
  }
}
