/** The format of `state.json`: the state of the log and the next number of each writer. */
import { PARAPET_AUDIT_LOG_CORRUPT } from '../errors.ts'
import type { LogState } from '../log/log-store.ts'
import type { WriterKey } from '../trust/writer-key.ts'

interface StateFile {
  readonly origin: string
  readonly size: number
  readonly root: string
  readonly edge: readonly string[]
  readonly minIndex: number
  readonly note: string
  readonly writers: Readonly<Record<string, number>>
}

/** Only the writers of segments in the spool are asked for, so that older ones may be forgotten. */
const MAX_WRITERS = 1000
const MAC = /,"mac":"([\w-]{43})"\}$/

/** Formats the state and the next number of each writer. */
export function formatState(
  state: LogState,
  writers: ReadonlyMap<string, number>,
  writerKey: WriterKey,
): string {
  const file: StateFile = {
    ...state,
    root: state.root.toString('base64'),
    edge: state.edge.map((tile) => tile.toString('base64')),
    writers: Object.fromEntries([...writers].slice(-MAX_WRITERS)),
  }
  const text = JSON.stringify(file)
  return `${text.slice(0, -1)},"mac":"${writerKey.macOf('state', text)}"}`
}

/** Parses the result of {@link formatState}; its MAC is not checked. @throws PARAPET_AUDIT_LOG_CORRUPT */
export function parseState(text: string): { state: LogState; writers: Map<string, number> } {
  try {
    const { origin, size, root, edge, minIndex, note, writers } = JSON.parse(text) as StateFile
    const areCounts = [size, minIndex].every((count) => Number.isSafeInteger(count) && count >= 0)
    if (!areCounts || typeof origin !== 'string' || typeof note !== 'string') throw new TypeError()
    const state = {
      origin,
      size,
      root: Buffer.from(root, 'base64'),
      edge: edge.map((tile) => Buffer.from(tile, 'base64')),
      minIndex,
      note,
    }
    return { state, writers: new Map(Object.entries(writers)) }
  } catch {
    throw new PARAPET_AUDIT_LOG_CORRUPT('state.json is not a valid state')
  }
}

/**
 * Checks the MAC of {@link formatState}. The numbers of the writers are not in the tree: edited ones
 * would make records pass for repetitions.
 *
 * @throws PARAPET_AUDIT_LOG_CORRUPT
 */
export function requireMac(text: string, writerKey: WriterKey): void {
  const mac = MAC.exec(text)
  const signed = mac === null ? '' : `${text.slice(0, mac.index)}}`
  if (writerKey.isMac('state', signed, mac?.[1] ?? null)) return
  throw new PARAPET_AUDIT_LOG_CORRUPT('state.json was edited, or its writer key was changed')
}
