/** Signed notes: a text with Ed25519 signatures. @see https://c2sp.org/signed-note */
import { createHash, createPublicKey, verify, type KeyObject } from 'node:crypto'

/** A key that signs notes: a name and an Ed25519 public key. */
export interface NoteKey {
  /** Without whitespace and `+`; for a log, its origin. */
  readonly name: string
  /** The first four bytes of SHA-256(name, newline, algorithm, key). */
  readonly id: number
  readonly publicKey: KeyObject
}

/** The signature type of a key that signs notes. */
const ED25519 = 1
const ED25519_BYTES = 32
const SIGNATURE_BYTES = 64
/** The bytes before the raw key in SubjectPublicKeyInfo. @see RFC 8410, section 4 */
const SPKI_PREFIX = Buffer.from('302a300506032b6570032100', 'hex')
/** Go's reader has the same two limits. @see https://pkg.go.dev/golang.org/x/mod/sumdb/note */
const MAX_NOTE_CHARS = 1_000_000
const MAX_SIGNATURES = 100
const NAME = /^[^\s+\p{Cc}]+$/u

/** Whether a text is a valid key name. */
export function isKeyName(name: string): boolean {
  return NAME.test(name) && name.isWellFormed()
}

/** Makes a {@link NoteKey}. */
export function createNoteKey(name: string, publicKey: KeyObject): NoteKey {
  return { name, id: keyId(name, rawKey(publicKey), ED25519), publicKey }
}

/** The public key as one line, `name+id+key`, for verifiers. */
export function formatVerifierKey({ name, id, publicKey }: NoteKey): string {
  const key = Buffer.concat([Buffer.of(ED25519), rawKey(publicKey)])
  return `${name}+${id.toString(16).padStart(8, '0')}+${key.toString('base64')}`
}

/**
 * Parses the result of {@link formatVerifierKey}; malformed text returns `undefined`.
 *
 * @param algorithm the byte of the signature type. @default 1, Ed25519 over the text of a note
 */
export function parseVerifierKey(text: string, algorithm = ED25519): NoteKey | undefined {
  const [, name, id, encoded] = /^([^+]+)\+([0-9a-f]{8})\+([A-Za-z0-9+/=]+)$/.exec(text) ?? []
  if (name === undefined || id === undefined || encoded === undefined || !isKeyName(name)) {
    return undefined
  }
  const bytes = decodeBase64(encoded)
  if (bytes?.length !== 1 + ED25519_BYTES || bytes[0] !== algorithm) return undefined
  const raw = bytes.subarray(1)
  if (keyId(name, raw, algorithm) !== Number.parseInt(id, 16)) return undefined
  const publicKey = createPublicKey({
    key: Buffer.concat([SPKI_PREFIX, raw]),
    format: 'der',
    type: 'spki',
  })
  return { name, id: keyId(name, raw, algorithm), publicKey }
}

/** Signs a text. `sign` receives its bytes in UTF-8. */
export async function signNote(
  text: string,
  key: Pick<NoteKey, 'name' | 'id'>,
  sign: (bytes: Buffer) => Uint8Array | Promise<Uint8Array>,
): Promise<string> {
  const id = Buffer.alloc(4)
  id.writeUInt32BE(key.id)
  const signature = Buffer.concat([id, await sign(Buffer.from(text))]).toString('base64')
  return `${text}\n\u2014 ${key.name} ${signature}\n`
}

/** A signature line of a note. */
interface NoteSignature {
  readonly name: string
  readonly id: number
  /** What follows the key id. */
  readonly bytes: Buffer
  readonly line: string
}

/** A note whose signatures are not verified. */
export interface ParsedNote {
  readonly text: string
  readonly signatures: readonly NoteSignature[]
}

/** Splits a note; a malformed one returns `undefined`. */
export function parseNote(note: string): ParsedNote | undefined {
  const split = note.lastIndexOf('\n\n')
  if (note.length > MAX_NOTE_CHARS) return undefined
  if (split === -1 || !note.endsWith('\n') || !note.isWellFormed()) return undefined
  // oxlint-disable-next-line no-control-regex -- the standard forbids control characters
  if (/[\u0000-\u0009\u000b-\u001f]/.test(note)) return undefined
  const lines = note.slice(split + 2, -1).split('\n')
  if (lines.length > MAX_SIGNATURES) return undefined
  const signatures = lines.map(parseSignature)
  if (signatures.includes(undefined)) return undefined
  return { text: note.slice(0, split + 1), signatures: signatures as NoteSignature[] }
}

/**
 * Verifies a note and returns its text.
 *
 * @returns `'malformed'`; `'unsigned'` if no signature is by one of the keys; `'forged'` if a
 *   signature names one of the keys and does not verify.
 */
export function openNote(
  note: string,
  keys: readonly NoteKey[],
): { readonly text: string } | 'malformed' | 'unsigned' | 'forged' {
  const parsed = parseNote(note)
  if (parsed === undefined) return 'malformed'
  const { text, signatures } = parsed
  let signed = false
  for (const { name, id, bytes } of signatures) {
    const key = keys.find((item) => item.name === name && item.id === id)
    if (key === undefined) continue
    if (!verify(null, Buffer.from(text), key.publicKey, bytes)) return 'forged'
    signed = true
  }
  return signed ? { text } : 'unsigned'
}

/** Parses one signature line; malformed text returns `undefined`. */
function parseSignature(line: string): NoteSignature | undefined {
  const [, name, encoded] = /^\u2014 (\S+) ([A-Za-z0-9+/=]+)$/.exec(line) ?? []
  const bytes = encoded === undefined ? undefined : decodeBase64(encoded)
  if (name === undefined || !isKeyName(name) || bytes === undefined || bytes.length < 5) {
    return undefined
  }
  return { name, id: bytes.readUInt32BE(), bytes: bytes.subarray(4), line }
}

/** Whether the bytes have the length of an Ed25519 signature. */
export function isSignature(bytes: Uint8Array): boolean {
  return bytes.length === SIGNATURE_BYTES
}

function keyId(name: string, raw: Buffer, algorithm: number): number {
  const digest = createHash('sha256').update(`${name}\n`).update(Buffer.of(algorithm)).update(raw)
  return digest.digest().readUInt32BE()
}

function rawKey(publicKey: KeyObject): Buffer {
  const der = publicKey.export({ format: 'der', type: 'spki' })
  return der.subarray(SPKI_PREFIX.length)
}

/** Decodes canonical base64; any other spelling returns `undefined`. */
export function decodeBase64(text: string): Buffer | undefined {
  const bytes = Buffer.from(text, 'base64')
  return bytes.toString('base64') === text ? bytes : undefined
}
