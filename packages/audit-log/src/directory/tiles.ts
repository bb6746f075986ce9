/** Tiles and entry bundles in a directory, in the layout of C2SP tlog-tiles. */
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { PARAPET_AUDIT_LOG_CORRUPT } from '../errors.ts'
import type { Integration, LogState, PlacedEntry } from '../log/log-store.ts'
import { HASH_BYTES } from '../log/merkle-tree.ts'
import { decodeBundle, encodeBundle, TILE_WIDTH, tilePath } from '../log/tiles.ts'
import { syncFolder, type Files } from '../wal/files.ts'

/** Reads by the size of the committed state; files beyond it are no part of the log. */
export class DirectoryTiles {
  readonly #folder: string
  readonly #files: Files

  constructor(folder: string, files: Files) {
    this.#folder = folder
    this.#files = files
  }

  async tile(level: number, index: number, size: number): Promise<Buffer | undefined> {
    const width = Math.floor(size / TILE_WIDTH ** level) - index * TILE_WIDTH
    return width > 0 ? this.#read((of) => tilePath(level, index, of), width) : undefined
  }

  async entries(start: number, end: number, size: number): Promise<PlacedEntry[]> {
    const found: PlacedEntry[] = []
    const last = Math.min(end, size)
    for (let bundle = Math.floor(start / TILE_WIDTH); bundle * TILE_WIDTH < last; bundle++) {
      const leaves = await this.bundle(bundle, size)
      leaves.forEach((leaf, at) => {
        const index = bundle * TILE_WIDTH + at
        if (index >= start && index < last) found.push({ index, leaf })
      })
    }
    return found
  }

  /** The entries of one bundle; empty if it was pruned. @throws PARAPET_AUDIT_LOG_CORRUPT */
  async bundle(index: number, size: number): Promise<string[]> {
    const width = Math.min(TILE_WIDTH, size - index * TILE_WIDTH)
    const bytes = await this.#read((of) => tilePath('entries', index, of), width)
    if (bytes === undefined) return []
    const leaves = decodeBundle(bytes)
    if (leaves === undefined) {
      throw new PARAPET_AUDIT_LOG_CORRUPT(`the entry bundle ${index} cannot be decoded`)
    }
    return leaves
  }

  /** The path of the last bundle or tile, if it does not exist. */
  async missingAtEnd({ size, minIndex }: LogState): Promise<string | undefined> {
    const last = Math.floor((size - 1) / TILE_WIDTH)
    const width = size - last * TILE_WIDTH
    const isPruned = minIndex === size
    for (const level of isPruned ? ([0] as const) : (['entries', 0] as const)) {
      const path = tilePath(level, last, width)
      if (await this.#files.exists(path)) continue
      // A crash may have left the file of the width only that the next step wrote.
      if (!(await this.#files.exists(tilePath(level, last, TILE_WIDTH)))) return path
    }
    return undefined
  }

  /** Writes a step. No file has a name that the committed state uses. */
  async write(current: LogState, step: Integration): Promise<void> {
    const folders = new Set<string>()
    await this.#writeBundles(current, step, folders)
    for (const { level, index, hashes } of step.tiles) {
      const path = tilePath(level, index, hashes.length / HASH_BYTES)
      await this.#files.put(path, hashes, folders)
    }
    for (const folder of folders) await syncFolder(folder)
  }

  /** Removes the partial files of tiles that are full now. */
  async removePartials(from: number, to: number): Promise<void> {
    for (let level = 0; TILE_WIDTH ** (level + 1) <= to; level++) {
      const width = TILE_WIDTH ** (level + 1)
      for (let tile = Math.floor(from / width); (tile + 1) * width <= to; tile++) {
        await this.#removePartial(tilePath(level, tile, TILE_WIDTH))
        if (level === 0) await this.#removePartial(tilePath('entries', tile, TILE_WIDTH))
      }
    }
  }

  /**
   * Removes the bundles from `start` to `end`, oldest first. What a crash left of an earlier pruning is
   * therefore right before `start`, and is removed as well; what was pruned long ago is not visited.
   */
  async removeBundles(start: number, end: number): Promise<void> {
    let first = start / TILE_WIDTH
    while (first > 0 && (await this.#files.exists(bundlePath(first - 1)))) first--
    for (let index = first; index < end / TILE_WIDTH; index++) {
      await rm(join(this.#folder, bundlePath(index)), { force: true })
    }
  }

  async #writeBundles(current: LogState, step: Integration, folders: Set<string>): Promise<void> {
    const first = Math.floor(current.size / TILE_WIDTH)
    const start = first * TILE_WIDTH
    const kept = current.size > start ? await this.entries(start, current.size, current.size) : []
    const leaves = [...kept, ...step.entries].map(({ leaf }) => leaf)
    for (let at = 0; at < leaves.length; at += TILE_WIDTH) {
      const bundle = leaves.slice(at, at + TILE_WIDTH)
      const path = tilePath('entries', first + at / TILE_WIDTH, bundle.length)
      await this.#files.put(path, encodeBundle(bundle), folders)
    }
  }

  async #removePartial(path: string): Promise<void> {
    await rm(join(this.#folder, `${path}.p`), { recursive: true, force: true })
  }

  /**
   * Reads the partial file of the committed step first. A full file may be the rest of a step that a
   * crash interrupted; it is used only if the log has grown past this width in the meantime.
   */
  async #read(path: (width: number) => string, width: number): Promise<Buffer | undefined> {
    const own = width < TILE_WIDTH ? await this.#files.read(path(width)) : undefined
    return own ?? this.#files.read(path(TILE_WIDTH))
  }
}

function bundlePath(index: number): string {
  return tilePath('entries', index, TILE_WIDTH)
}
