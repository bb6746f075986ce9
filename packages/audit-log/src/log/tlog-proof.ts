/** A proof of one entry as a text that needs no network. @see https://c2sp.org/tlog-proof */
import { HASH_BYTES } from './merkle-tree.ts'
import type { ProvenEntry } from './proofs.ts'
import { decodeBase64 } from './signed-note.ts'

/** What a proof contains; nothing of it is verified. */
export interface TlogProof {
  readonly index: number
  /** Hashes in base64, from the leaf up. */
  readonly proof: readonly string[]
  /** The signed checkpoint, with the cosignatures of witnesses. */
  readonly checkpoint: string
  /** This log puts the entry there; other logs put anything there, or nothing. */
  readonly extra?: Buffer
}

const HEADER = 'c2sp.org/tlog-proof@v1'
/** More than the levels of the largest tree. */
const MAX_HASHES = 64

/** Writes a proof. */
export function formatTlogProof({ index, proof, checkpoint, extra }: TlogProof): string {
  const lines = [
    HEADER,
    ...(extra === undefined ? [] : [`extra ${extra.toString('base64')}`]),
    `index ${index}`,
    ...proof,
    '',
    checkpoint,
  ]
  return lines.join('\n')
}

/** Writes what `app.audit.prove` returns, for `audit-log verify --proof` and for other verifiers. */
export function toTlogProof({ leaf, ...proof }: ProvenEntry): string {
  return formatTlogProof({ ...proof, extra: Buffer.from(leaf) })
}

/** Parses a proof; malformed text returns `undefined`. */
export function parseTlogProof(text: string): TlogProof | undefined {
  const split = text.indexOf('\n\n')
  const [header, ...lines] = text.slice(0, Math.max(split, 0)).split('\n')
  if (header !== HEADER) return undefined
  const named = lines[0]?.startsWith('extra ') === true ? lines.shift()!.slice(6) : undefined
  const extra = named === undefined ? undefined : decodeBase64(named)
  if (named !== undefined && extra === undefined) return undefined
  const [, index] = /^index (0|[1-9]\d{0,15})$/.exec(lines.shift() ?? '') ?? []
  if (index === undefined || !Number.isSafeInteger(Number(index))) return undefined
  if (lines.length > MAX_HASHES || !lines.every(isHash)) return undefined
  const found = { index: Number(index), proof: lines, checkpoint: text.slice(split + 2) }
  return extra === undefined ? found : { ...found, extra }
}

function isHash(line: string): boolean {
  return decodeBase64(line)?.length === HASH_BYTES
}
