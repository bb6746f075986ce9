/** Runs of numbers in typed arrays, in sizes of 4, 8, 16 and so on: no object for each tracked key. */

const SMALLEST = 4
const CLASS_SHIFT = 28
const INDEX_MASK = (1 << CLASS_SHIFT) - 1
/** Slabs are allocated by the thousand, so that growing never copies what is stored. */
const CHUNK_SLABS = 1024

/** A slab: where its numbers are. */
export interface SlabView {
  data: Float64Array
  offset: number
  size: number
}

interface SizeClass {
  readonly size: number
  readonly chunks: Float64Array[]
  readonly free: number[]
  used: number
}

/** Allocates slabs of numbers. Handles are integers; 0 is the handle of no slab. */
export class Slabs {
  readonly #classes: SizeClass[] = []

  /** Allocates a slab for at least `length` numbers; what it holds is undefined. */
  allocate(length: number): number {
    let order = 0
    while (SMALLEST << order < length) order++
    const sizeClass = this.#classOf(order)
    const reused = sizeClass.free.pop()
    if (reused !== undefined) return reused
    const index = sizeClass.used++
    if (index % CHUNK_SLABS === 0) {
      sizeClass.chunks.push(new Float64Array(CHUNK_SLABS * sizeClass.size))
    }
    return ((order << CLASS_SHIFT) | (index + 1)) >>> 0
  }

  free(handle: number): void {
    if (handle !== 0) this.#classes[handle >>> CLASS_SHIFT]!.free.push(handle)
  }

  /** Points `view` at a slab. */
  read(handle: number, view: SlabView): void {
    const { size, chunks } = this.#classes[handle >>> CLASS_SHIFT]!
    const index = (handle & INDEX_MASK) - 1
    view.data = chunks[(index / CHUNK_SLABS) | 0]!
    view.offset = (index % CHUNK_SLABS) * size
    view.size = size
  }

  #classOf(order: number): SizeClass {
    for (let next = this.#classes.length; next <= order; next++) {
      this.#classes.push({ size: SMALLEST << next, chunks: [], free: [], used: 0 })
    }
    return this.#classes[order]!
  }
}
