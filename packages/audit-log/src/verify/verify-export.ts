/** Verifies an export: each line by its own proof and checkpoint. */
import { parseCheckpoint, type Checkpoint } from '../log/checkpoint.ts'
import { readCosignature } from '../log/cosignature.ts'
import { verifyInclusion } from '../log/merkle-proofs.ts'
import { leafHash } from '../log/merkle-tree.ts'
import { decodeBase64, openNote, type NoteKey } from '../log/signed-note.ts'
import { parseTlogProof } from '../log/tlog-proof.ts'
import { parseLeaf } from '../record/leaf.ts'
import { Findings, type VerifyReport, type WitnessedSize } from './report.ts'

interface Line {
  readonly index?: unknown
  readonly leaf?: unknown
  readonly proof?: unknown
  readonly checkpoint?: unknown
}

/** More proofs than levels of the largest tree are no proof. */
const MAX_PROOF = 64

/**
 * Verifies the lines of an export. What a filter left out, an export cannot show.
 *
 * @param now milliseconds of a monotonic clock.
 */
export async function verifyExport(
  lines: AsyncIterable<string>,
  keys: readonly NoteKey[],
  now: () => number,
  witnesses: readonly NoteKey[] = [],
): Promise<VerifyReport> {
  const started = now()
  const check = new ExportCheck(keys, witnesses)
  let number = 0
  for await (const line of lines) if (line !== '') check.add(line, ++number)
  if (number === 0) check.reportEmpty()
  return { ...check.report(), elapsedMs: now() - started }
}

/**
 * Verifies a tlog-proof.
 *
 * @param entry the bytes of the entry. @default those in the line `extra`
 * @see https://c2sp.org/tlog-proof
 */
export function verifyProof(
  text: string,
  keys: readonly NoteKey[],
  now: () => number,
  witnesses: readonly NoteKey[] = [],
  entry?: Buffer,
): VerifyReport {
  const started = now()
  const check = new ExportCheck(keys, witnesses)
  check.addProof(text, entry)
  return { ...check.report(), elapsedMs: now() - started }
}

class ExportCheck {
  readonly #keys: readonly NoteKey[]
  readonly #findings = new Findings()
  #note: { readonly text: string; readonly checkpoint: Checkpoint | undefined } | undefined
  #entries = 0
  #lastIndex = Infinity
  #origin = ''
  #size = 0
  readonly #witnesses: readonly NoteKey[]
  /** By the name of the witness; the last checkpoint counts. */
  readonly #cosigned = new Map<string, WitnessedSize>()

  constructor(keys: readonly NoteKey[], witnesses: readonly NoteKey[]) {
    this.#keys = keys
    this.#witnesses = witnesses
  }

  addProof(text: string, given: Buffer | undefined): void {
    this.#entries++
    const found = parseTlogProof(text)
    const entry = given ?? found?.extra
    if (found === undefined || entry === undefined) {
      const detail = found === undefined ? 'this is no tlog-proof' : 'the proof has no entry'
      this.#findings.add({ kind: 'malformed', detail })
      return
    }
    const { index, proof, checkpoint } = found
    this.#compare(entry, { index }, proof, checkpoint)
  }

  add(text: string, number: number): void {
    this.#entries++
    const { index, leaf, proof, checkpoint } = parse(text)
    if (typeof leaf !== 'string' || !Number.isSafeInteger(index)) {
      this.#findings.add({ kind: 'malformed', detail: `the line ${number} is not an entry` })
      return
    }
    const at = index as number
    const id = parseLeaf(leaf)?.id
    const place = { index: at, ...(typeof id === 'string' ? { id } : undefined) }
    if (at >= this.#lastIndex) {
      const detail = 'the line repeats an earlier one, or is not in the order of an export'
      this.#findings.add({ kind: 'reordered', ...place, detail })
    }
    this.#lastIndex = at
    if (typeof checkpoint !== 'string' || !Array.isArray(proof)) {
      const detail = 'the line has no proof; export with proofs to verify it'
      this.#findings.add({ kind: 'gap', ...place, detail })
      return
    }
    this.#compare(Buffer.from(leaf), place, proof, checkpoint)
  }

  #compare(
    entry: Buffer,
    place: { readonly index: number; readonly id?: string },
    proof: readonly unknown[],
    checkpoint: string,
  ): void {
    const signed = this.#open(checkpoint)
    if (signed === undefined || isProven(entry, place.index, proof, signed)) return
    const detail = 'its proof does not lead to its checkpoint: the record or its index was edited'
    this.#findings.add({ kind: 'edited', ...place, detail })
  }

  /** A failed download is an empty file, and must not pass. */
  reportEmpty(): void {
    this.#findings.add({ kind: 'gap', detail: 'the export is empty, so that it proves nothing' })
  }

  report(): Omit<VerifyReport, 'elapsedMs'> {
    const { list, counts } = this.#findings
    return {
      origin: this.#origin,
      size: this.#size,
      minIndex: 0,
      entries: this.#entries,
      columns: 0,
      checkpoints: this.#size === 0 ? 0 : 1,
      writers: 0,
      declaredLosses: 0,
      openAttempts: 0,
      erasedSubjects: 0,
      pinned: false,
      witnesses: [...this.#cosigned.values()],
      findings: list,
      counts,
      exitCode: this.#findings.exitCode(),
    }
  }

  /** The lines of a page have the same checkpoint, so that it is verified once. */
  #open(text: string): Checkpoint | undefined {
    if (this.#note?.text !== text) this.#note = { text, checkpoint: this.#verify(text) }
    return this.#note.checkpoint
  }

  #verify(text: string): Checkpoint | undefined {
    const opened = openNote(text, this.#keys)
    if (opened === 'unsigned') {
      const detail = 'a checkpoint is not signed by one of the given keys'
      this.#findings.add({ kind: 'key', detail })
      return undefined
    }
    const checkpoint = typeof opened === 'string' ? undefined : parseCheckpoint(opened.text)
    if (checkpoint === undefined) {
      this.#findings.add({ kind: 'checkpoint', detail: 'a checkpoint is malformed or forged' })
      return undefined
    }
    this.#origin = checkpoint.origin
    this.#requireWitnesses(text, checkpoint)
    this.#size = Math.max(this.#size, checkpoint.size)
    return checkpoint
  }

  #requireWitnesses(note: string, { size }: Checkpoint): void {
    for (const witness of this.#witnesses) {
      const { name } = witness
      const found = readCosignature(note, witness)
      if (typeof found === 'object') this.#cosigned.set(name, { name, size, time: found.time })
      else {
        const detail = `the cosignature of "${name}" on the checkpoint of size ${size} is ${found}`
        this.#findings.add({ kind: 'witness', detail })
      }
    }
  }
}

function isProven(
  entry: Buffer,
  index: number,
  proof: readonly unknown[],
  { size, root }: Checkpoint,
): boolean {
  if (proof.length > MAX_PROOF) return false
  const hashes = proof.flatMap((hash) =>
    typeof hash === 'string' ? (decodeBase64(hash) ?? []) : [],
  )
  if (hashes.length !== proof.length) return false
  return verifyInclusion(leafHash(entry), index, size, hashes, root)
}

function parse(text: string): Line {
  try {
    return (JSON.parse(text) as Line | null) ?? {}
  } catch {
    return {}
  }
}
