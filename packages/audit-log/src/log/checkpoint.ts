/** Checkpoints: the signed size and root of a log. @see https://c2sp.org/tlog-checkpoint */
import { HASH_BYTES } from './merkle-tree.ts'
import { decodeBase64 } from './signed-note.ts'

/** The size and root of a log at one moment. */
export interface Checkpoint {
  readonly origin: string
  readonly size: number
  readonly root: Buffer
}

/** Writes the body of a checkpoint; a signed note contains it. */
export function formatCheckpoint({ origin, size, root }: Checkpoint): string {
  return `${origin}\n${size}\n${root.toString('base64')}\n`
}

/** Parses the body of a checkpoint and ignores extension lines; malformed text returns `undefined`. */
export function parseCheckpoint(text: string): Checkpoint | undefined {
  const lines = text.split('\n')
  const [origin, size, encoded] = lines
  if (origin === undefined || size === undefined || encoded === undefined) return undefined
  if (lines.length < 4 || lines.at(-1) !== '' || origin === '') return undefined
  const root = decodeBase64(encoded)
  if (!/^(?:0|[1-9]\d{0,15})$/.test(size) || root?.length !== HASH_BYTES) return undefined
  return { origin, size: Number(size), root }
}
