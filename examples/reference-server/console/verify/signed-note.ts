/**
 * Checkpoints: the signed size and root of a log, verified with Ed25519 of WebCrypto.
 *
 * @see https://c2sp.org/signed-note, https://c2sp.org/tlog-checkpoint
 */
import { areEqual, concat, fromBase64, sha256, utf8, type Bytes } from './bytes.ts'
import { HASH_BYTES, type Tree } from './merkle.ts'

/** A key of WebCrypto, by the types of Node.js and of the browser. */
type PublicKey = Awaited<ReturnType<typeof crypto.subtle.importKey>>

/** The public key of a log: `name+id+key`. */
export interface VerifierKey {
  readonly name: string
  readonly id: Bytes
  readonly key: PublicKey
}

/** A checkpoint whose signature was verified. */
export interface Checkpoint extends Tree {
  readonly origin: string
}

const ED25519 = 1
const KEY_BYTES = 33
const ID_BYTES = 4

/** Reads a verifier key. @throws Error it is malformed, or the browser has no Ed25519 */
export async function readVerifierKey(text: string): Promise<VerifierKey> {
  const [, name, hex, encoded] = /^([^+\s]+)\+([0-9a-f]{8})\+([A-Za-z0-9+/=]+)$/.exec(text) ?? []
  const bytes = encoded === undefined ? undefined : fromBase64(encoded)
  if (name === undefined || hex === undefined || bytes?.length !== KEY_BYTES) {
    throw new Error('The public key of the log is malformed.')
  }
  const digest = await sha256(concat(utf8(`${name}\n`), bytes))
  const id = digest.slice(0, ID_BYTES)
  const named = Uint8Array.from(hex.match(/../g)!, (pair) => Number.parseInt(pair, 16))
  if (bytes[0] !== ED25519 || !areEqual(id, named)) {
    throw new Error('The public key of the log does not fit its id.')
  }
  const key = await crypto.subtle.importKey('raw', bytes.slice(1), 'Ed25519', false, ['verify'])
  return { name, id, key }
}

/** Verifies a checkpoint. @returns `undefined`: it is malformed, or not signed by the key */
export async function openCheckpoint(
  note: string,
  { name, id, key }: VerifierKey,
): Promise<Checkpoint | undefined> {
  const split = note.lastIndexOf('\n\n')
  if (split === -1 || !note.endsWith('\n')) return undefined
  const text = note.slice(0, split + 1)
  for (const line of note.slice(split + 2, -1).split('\n')) {
    const [, signer, encoded] = /^\u2014 (\S+) ([A-Za-z0-9+/=]+)$/.exec(line) ?? []
    const bytes = encoded === undefined ? undefined : fromBase64(encoded)
    if (signer !== name || bytes === undefined || !areEqual(bytes.slice(0, ID_BYTES), id)) continue
    const isSigned = await crypto.subtle.verify('Ed25519', key, bytes.slice(ID_BYTES), utf8(text))
    return isSigned ? readCheckpoint(text, name) : undefined
  }
  return undefined
}

function readCheckpoint(text: string, name: string): Checkpoint | undefined {
  const [origin, count = '', encoded = ''] = text.split('\n')
  const size = Number(count)
  const root = fromBase64(encoded)
  if (origin !== name || !/^(?:0|[1-9]\d{0,15})$/.test(count) || !Number.isSafeInteger(size)) {
    return undefined
  }
  return root?.length === HASH_BYTES ? { origin, size, root } : undefined
}
