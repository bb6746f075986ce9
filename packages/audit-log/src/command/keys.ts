/** The public keys that the command trusts, and the one that it prints. */
import { createPrivateKey, createPublicKey, type KeyObject } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import {
  createNoteKey,
  formatVerifierKey,
  parseVerifierKey,
  type NoteKey,
} from '../log/signed-note.ts'
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

/** The verifier key of a directory. @param origin the name of the log. @default that of the stored log */
export async function verifierKeyOf(directory: string, origin?: string): Promise<string> {
  const key = parseKey(await readFile(join(directory, 'key.pem'), 'utf8'))
  if (key === undefined || 'publicKey' in key) {
    throw new UsageError('key.pem is not an Ed25519 key in PEM without a passphrase')
  }
  const name = origin ?? (await storedOrigin(directory))
  if (name === undefined) {
    throw new UsageError('--origin must name the log, because the directory has no log')
  }
  return formatVerifierKey(createNoteKey(name, key))
}

async function storedOrigin(directory: string): Promise<string | undefined> {
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
