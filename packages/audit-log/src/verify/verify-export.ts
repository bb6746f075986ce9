/** Verifies an export: each line by its own proof and checkpoint. */
import { parseCheckpoint, type Checkpoint } from '../log/checkpoint.ts'
import { verifyInclusion } from '../log/merkle-proofs.ts'
import { leafHash } from '../log/merkle-tree.ts'
import { decodeBase64, openNote, type NoteKey } from '../log/signed-note.ts'
import { parseLeaf } from '../record/leaf.ts'
import { Findings, type VerifyReport } from './report.ts'

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
): Promise<VerifyReport> {
  const started = now()
  const check = new ExportCheck(keys)
  let number = 0
  for await (const line of lines) if (line !== '') check.add(line, ++number)
  return { ...check.report(), elapsedMs: now() - started }
}

class ExportCheck {
  readonly #keys: readonly NoteKey[]
  readonly #findings = new Findings()
  #note: { readonly text: string; readonly checkpoint: Checkpoint | undefined } | undefined
  #entries = 0
  #origin = ''
  #size = 0

  constructor(keys: readonly NoteKey[]) {
    this.#keys = keys
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
    if (typeof checkpoint !== 'string' || !Array.isArray(proof)) {
      const detail = 'the line has no proof; export with proofs to verify it'
      this.#findings.add({ kind: 'gap', ...place, detail })
      return
    }
    const signed = this.#open(checkpoint)
    if (signed === undefined || isProven(leaf, at, proof, signed)) return
    const detail = 'its proof does not lead to its checkpoint: the record or its index was edited'
    this.#findings.add({ kind: 'edited', ...place, detail })
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
    this.#size = Math.max(this.#size, checkpoint.size)
    return checkpoint
  }
}

function isProven(
  leaf: string,
  index: number,
  proof: readonly unknown[],
  { size, root }: Checkpoint,
): boolean {
  if (proof.length > MAX_PROOF) return false
  const hashes = proof.flatMap((hash) =>
    typeof hash === 'string' ? (decodeBase64(hash) ?? []) : [],
  )
  if (hashes.length !== proof.length) return false
  return verifyInclusion(leafHash(Buffer.from(leaf)), index, size, hashes, root)
}

function parse(text: string): Line {
  try {
    return (JSON.parse(text) as Line | null) ?? {}
  } catch {
    return {}
  }
}
