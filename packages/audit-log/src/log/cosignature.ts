/** Cosignatures: what a witness adds to a checkpoint. @see https://c2sp.org/tlog-cosignature */
import { verify } from 'node:crypto'
import { parseNote, parseVerifierKey, type NoteKey } from './signed-note.ts'

/** A verified cosignature. */
export interface Cosignature {
  /** When the witness signed, in milliseconds since the Unix epoch. */
  readonly time: number
  /** The signature line, without its line break. */
  readonly line: string
}

const TIMESTAMPED_ED25519 = 4
const TIME_BYTES = 8
const SIGNATURE_BYTES = 64
const MS = 1000

/** Parses the verifier key of a witness (`name+id+key`, type 0x04); malformed text returns `undefined`. */
export function parseWitnessKey(text: string): NoteKey | undefined {
  return parseVerifierKey(text, TIMESTAMPED_ED25519)
}

/**
 * Verifies what a witness added to a checkpoint. If it cosigned twice, the latest time counts.
 *
 * @returns `'missing'` if no signature names the witness; `'forged'` if one does and does not verify.
 */
export function readCosignature(
  note: string,
  witness: NoteKey,
): Cosignature | 'missing' | 'forged' {
  const { text = '', signatures = [] } = parseNote(note) ?? {}
  let found: Cosignature | undefined
  for (const { name, id, bytes, line } of signatures) {
    if (name !== witness.name || id !== witness.id) continue
    const seconds = verifiedTime(text, bytes, witness)
    if (seconds === undefined) return 'forged'
    if (found === undefined || seconds * MS > found.time) found = { time: seconds * MS, line }
  }
  return found ?? 'missing'
}

/** The signed time in seconds; `undefined` if the signature is wrong, or has no usable time. */
function verifiedTime(text: string, bytes: Buffer, { publicKey }: NoteKey): number | undefined {
  if (bytes.length !== TIME_BYTES + SIGNATURE_BYTES) return undefined
  const seconds = Number(bytes.readBigUInt64BE())
  // A time of zero makes no statement about the largest tree that the witness saw.
  if (seconds === 0 || !Number.isSafeInteger(seconds * MS)) return undefined
  const message = Buffer.from(`cosignature/v1\ntime ${seconds}\n${text}`)
  return verify(null, message, publicKey, bytes.subarray(TIME_BYTES)) ? seconds : undefined
}
