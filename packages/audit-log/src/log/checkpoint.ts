/** Checkpoints: the signed size and root of a log. @see https://c2sp.org/tlog-checkpoint */
import { HASH_BYTES } from './merkle-tree.ts'
import { decodeBase64 } from './signed-note.ts'

/** The size and root of a log at one moment. */
export interface Checkpoint {
  readonly origin: string
  readonly size: number
  readonly root: Buffer
  /** The size of the checkpoint before this one, so that a removed checkpoint is missed. */
  readonly previous?: number
}

const PREVIOUS = 'previous '
const MAX_EXTENSIONS = 16

/** Writes the body of a checkpoint; a signed note contains it. */
export function formatCheckpoint({ origin, size, root, previous }: Checkpoint): string {
  const extension = previous === undefined ? '' : `${PREVIOUS}${previous}\n`
  return `${origin}\n${size}\n${root.toString('base64')}\n${extension}`
}

/**
 * Parses the body of a checkpoint; unknown extension lines are ignored. Malformed text returns
 * `undefined`, and so does a size above 2^53 - 1, which a JavaScript number cannot hold exactly.
 */
export function parseCheckpoint(text: string): Checkpoint | undefined {
  const lines = text.split('\n')
  const [origin, size, encoded] = lines
  if (origin === undefined || size === undefined || encoded === undefined) return undefined
  if (lines.length < 4 || lines.at(-1) !== '' || origin === '') return undefined
  const extensions = lines.slice(3, -1)
  if (extensions.length > MAX_EXTENSIONS || extensions.includes('')) return undefined
  const root = decodeBase64(encoded)
  const count = parseCount(size)
  if (count === undefined || root?.length !== HASH_BYTES) return undefined
  const named = extensions.find((line) => line.startsWith(PREVIOUS))
  if (named === undefined) return { origin, size: count, root }
  const previous = parseCount(named.slice(PREVIOUS.length))
  if (previous === undefined || previous > count) return undefined
  return { origin, size: count, root, previous }
}

/** A decimal number without sign and leading zeros, up to 2^53 - 1. */
function parseCount(text: string): number | undefined {
  const count = Number(text)
  return /^(?:0|[1-9]\d{0,15})$/.test(text) && Number.isSafeInteger(count) ? count : undefined
}
