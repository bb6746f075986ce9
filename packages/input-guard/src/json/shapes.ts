/**
 * Shapes: sequences of distinct keys, shared by all objects that have the same keys in the same order.
 *
 * Most JSON of an API repeats a few sequences. If the next key of an object continues a known sequence, its
 * bytes are compared once and no set of names is needed. The tree is bounded, and dropped when it is full.
 */

/** Keys in one shape; a larger object gets a set of its own. */
export const MAX_SHAPE_KEYS = 32
/** A longer key is not kept beyond its request. */
export const MAX_SHAPE_KEY_BYTES = 64
const MAX_SHAPES = 2048
const MAX_CHILDREN = 8

/** One sequence of keys: that of its parent, and one more. */
export class Shape {
  readonly parent: Shape | null
  /** The key as it was written, without quotes. */
  readonly bytes: Uint8Array
  readonly name: string
  readonly size: number
  readonly children: Shape[] = []
  /** The child that an object had last. */
  latest: Shape | null = null
  #more: Map<string, Shape> | undefined

  constructor(parent: Shape | null, bytes: Uint8Array, name: string) {
    this.parent = parent
    this.bytes = bytes
    this.name = name
    this.size = parent === null ? 0 : parent.size + 1
  }

  has(name: string): boolean {
    return this.parent !== null && (this.name === name || this.parent.has(name))
  }

  /** The names of the sequence, for an object that outgrows its shape. */
  names(): Set<string> {
    return this.parent === null ? new Set() : this.parent.names().add(this.name)
  }

  /** A child that is not among {@link children}. */
  find(name: string): Shape | undefined {
    return this.#more?.get(name) ?? this.children.find((child) => child.name === name)
  }

  add(child: Shape): void {
    if (this.children.length < MAX_CHILDREN) this.children.push(child)
    else (this.#more ??= new Map()).set(child.name, child)
  }
}

/** The tree of all shapes. */
export class ShapeTree {
  root = new Shape(null, new Uint8Array(), '')
  #count = 0

  /**
   * Continues a shape by a key that none of its children has.
   *
   * @param name the decoded key; it must not be in the shape yet.
   */
  grow(shape: Shape, bytes: Uint8Array, name: string): Shape {
    const child = new Shape(shape, bytes.slice(), name)
    shape.add(child)
    if (++this.#count >= MAX_SHAPES) {
      this.root = new Shape(null, new Uint8Array(), '')
      this.#count = 0
    }
    return child
  }
}

/** The child whose key is written as the bytes from `start` to `end`. */
export function childAt(
  { children }: Shape,
  bytes: Uint8Array,
  start: number,
  end: number,
): Shape | undefined {
  const size = end - start
  for (let index = 0; index < children.length; index++) {
    const child = children[index]!
    const key = child.bytes
    if (key.length !== size) continue
    let at = 0
    while (at < size && key[at] === bytes[start + at]) at++
    if (at === size) return child
  }
  return undefined
}

/**
 * Compares a key with the text at `start`.
 *
 * @returns the position after its quote and colon, or 0: another key, or white space before the colon
 */
export function matchKey(bytes: Uint8Array, start: number, key: Uint8Array): number {
  const size = key.length
  let at = 0
  while (at < size && key[at] === bytes[start + at]) at++
  const end = start + size
  return at === size && bytes[end] === 0x22 && bytes[end + 1] === 0x3a ? end + 2 : 0
}
