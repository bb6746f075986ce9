/** The call that asks a witness for its cosignature. @see https://c2sp.org/tlog-witness */

/** What is submitted. */
export interface Submission {
  /** The size of the checkpoint that the witness cosigned last; 0: it has none of this log. */
  readonly oldSize: number
  /** Hashes in base64 that prove that the checkpoint continues that one. */
  readonly proof: readonly string[]
  /** The signed checkpoint. */
  readonly note: string
}

/** The cosignature lines, or the size that the witness cosigned last. */
export type WitnessAnswer = { readonly lines: string } | { readonly knownSize: number }

/** The witness says that the log does not continue what it cosigned before. */
export class WitnessRefusal extends Error {
  override readonly name = 'WitnessRefusal'
}

const MAX_ANSWER_BYTES = 64 * 1024
const CONFLICT = 409
const INCONSISTENT = 422
/** What the other statuses mean, for the operator. */
const MEANINGS: Readonly<Record<number, string>> = {
  400: 'it cannot read the request',
  403: 'it does not trust the key of this log',
  404: 'it does not know the origin of this log, or the URL is wrong',
}

/**
 * Submits a checkpoint.
 *
 * @param url the submission prefix of the witness.
 * @throws WitnessRefusal the checkpoint does not continue what the witness knows.
 */
export async function addCheckpoint(
  url: string,
  { oldSize, proof, note }: Submission,
  signal: AbortSignal,
): Promise<WitnessAnswer> {
  const response = await fetch(`${url.replace(/\/$/, '')}/add-checkpoint`, {
    method: 'POST',
    headers: { 'content-type': 'text/plain; charset=utf-8' },
    body: [`old ${oldSize}`, ...proof, '', note].join('\n'),
    signal,
    redirect: 'error',
  })
  const text = await readText(response)
  const { status } = response
  if (status === 200) return { lines: text }
  if (status === CONFLICT) return { knownSize: readSize(text) }
  if (status === INCONSISTENT) {
    throw new WitnessRefusal(
      `the log of this checkpoint does not continue the ${oldSize} entries that the witness cosigned: it was rewritten or forked`,
    )
  }
  const meaning = MEANINGS[status] === undefined ? '' : `: ${MEANINGS[status]}`
  throw new Error(`the witness answered with status ${status}${meaning}`)
}

function readSize(text: string): number {
  const size = Number(text)
  if (/^(?:0|[1-9]\d{0,15})\n$/.test(text) && Number.isSafeInteger(size)) return size
  throw new Error('the witness answered with status 409, but without the size that it knows')
}

/** Limits the size, so that an endless answer cannot fill the memory. */
async function readText({ body }: Response): Promise<string> {
  const chunks: Uint8Array[] = []
  let bytes = 0
  for await (const chunk of (body ?? []) as AsyncIterable<Uint8Array>) {
    bytes += chunk.length
    if (bytes > MAX_ANSWER_BYTES) {
      throw new Error(`the answer of the witness is longer than ${MAX_ANSWER_BYTES} bytes`)
    }
    chunks.push(chunk)
  }
  return Buffer.concat(chunks).toString()
}
