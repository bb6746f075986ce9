/** A log of which only the published files exist: a mirror of its tiles, in a folder or behind a URL. */
import { PARAPET_AUDIT_LOG_CORRUPT } from '../errors.ts'
import { parseCheckpoint } from '../log/checkpoint.ts'
import type { LogState, PlacedEntry, VerifiableLog } from '../log/log-store.ts'
import { decodeBundle, rowLength, TILE_WIDTH, tilePath } from '../log/tiles.ts'

/** Reads a file of the mirror by its path; `undefined` if it does not exist. */
export type ReadFile = (path: string) => Promise<Buffer | undefined>

/** @see https://c2sp.org/tlog-tiles */
export class TileLog implements VerifiableLog {
  readonly kind = 'tiles'
  readonly #read: ReadFile
  readonly #encoding: 'utf8' | 'latin1'
  #state: Promise<LogState | null> | undefined

  /** @param encoding `latin1` for a log whose entries are no text: one character is one byte then. */
  constructor(read: ReadFile, encoding: 'utf8' | 'latin1' = 'utf8') {
    this.#read = read
    this.#encoding = encoding
  }

  /** The state at the first call: a mirror may grow while it is verified. */
  state(): Promise<LogState | null> {
    return (this.#state ??= this.#readState())
  }

  async tile(level: number, index: number): Promise<Buffer | undefined> {
    const size = (await this.state())?.size ?? 0
    const width = Math.min(TILE_WIDTH, rowLength(size, level) - index * TILE_WIDTH)
    return width > 0 ? this.#readWide((of) => tilePath(level, index, of), width) : undefined
  }

  async entries(start: number, end: number): Promise<PlacedEntry[]> {
    const size = (await this.state())?.size ?? 0
    const found: PlacedEntry[] = []
    for (let bundle = Math.floor(start / TILE_WIDTH); bundle * TILE_WIDTH < end; bundle++) {
      const first = bundle * TILE_WIDTH
      for (const [at, leaf] of (await this.#bundle(bundle, size)).entries()) {
        const index = first + at
        if (index >= start && index < Math.min(end, size)) found.push({ index, leaf })
      }
    }
    return found
  }

  /** A mirror has the latest checkpoint only. */
  async *checkpoints(): AsyncGenerator<never> {}

  /** Other logs have the cosignatures in their checkpoint. */
  async cosigned(): Promise<string | undefined> {
    return (await this.#read('cosigned'))?.toString()
  }

  async subjects(): Promise<[]> {
    return []
  }

  async valuesOfMany(): Promise<[]> {
    return []
  }

  async blob(): Promise<undefined> {
    return undefined
  }

  async surplus(): Promise<number> {
    return 0
  }

  async #readState(): Promise<LogState | null> {
    const note = (await this.#read('checkpoint'))?.toString()
    if (note === undefined) return null
    // Its signature is checked by the verifier, which knows the keys.
    const checkpoint = parseCheckpoint(note.slice(0, note.lastIndexOf('\n\n') + 1))
    if (checkpoint === undefined) throw new PARAPET_AUDIT_LOG_CORRUPT('the checkpoint is malformed')
    const { origin, size, root } = checkpoint
    return { origin, size, root, edge: [], minIndex: await this.#firstEntry(size), note }
  }

  /** Pruning removes whole bundles from the front, so that the first one is found by halving. */
  async #firstEntry(size: number): Promise<number> {
    let low = 0
    let high = Math.ceil(size / TILE_WIDTH)
    while (low < high) {
      const middle = Math.floor((low + high) / 2)
      if ((await this.#bundle(middle, size)).length > 0) high = middle
      else low = middle + 1
    }
    return low * TILE_WIDTH >= size ? 0 : low * TILE_WIDTH
  }

  async #bundle(index: number, size: number): Promise<string[]> {
    const width = Math.min(TILE_WIDTH, size - index * TILE_WIDTH)
    if (width <= 0) return []
    const bytes = await this.#readWide((of) => tilePath('entries', index, of), width)
    const leaves = bytes === undefined ? [] : decodeBundle(bytes, this.#encoding)
    if (leaves !== undefined) return leaves
    throw new PARAPET_AUDIT_LOG_CORRUPT(`the entry bundle ${index} cannot be decoded`)
  }

  /** A mirror may keep only the full file, once there is one. */
  async #readWide(path: (width: number) => string, width: number): Promise<Buffer | undefined> {
    const own = await this.#read(path(width))
    return own ?? (width < TILE_WIDTH ? this.#read(path(TILE_WIDTH)) : undefined)
  }
}
