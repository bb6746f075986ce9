/**
 * Shapes: sequences of distinct keys, shared by all objects that have the same keys in the same order.
 *
 * Most JSON of an API repeats a few sequences, so the next key of an object can be guessed, and one comparison
 * of a few words says that the guess is right, and so that the key is no duplicate. A shape is the position of
 * its facts in one typed array, which the loop of the scanner reads without following objects.
 */

/** The shape without keys. */
export const EMPTY_SHAPE = 0

/** A fact about the shape `s` is at `facts[s + NEXT]` and so on: the shape that last followed it; 0: none. */
export const NEXT = 0
/** The first shape of the object that was last found below its last key; 0: none. */
export const FIRST = 1
/** How many bytes its last key has as it is written: `"key":`. */
export const SIZE = 2
/** The last four of these bytes, which may overlap the words before. */
export const LAST_WORD = 3
const PARENT = 4
const LENGTH = 5
/** The other words of the key. */
export const WORDS = 6
const FACTS = 22

/** How many bytes `"key":` has beside the key. */
export const KEY_MARKS = 3
/** Keys in one shape; a larger object gets a set of its own. */
const MAX_KEYS = 32
/** A longer key is not kept beyond its request; the words of `"key":` must fit into the facts. */
const MAX_KEY_BYTES = (FACTS - WORDS + 1) * 4 - KEY_MARKS
const MAX_SHAPES = 2048
/** Slots of the hash table, a power of two, and how many of them a search visits. */
const [SLOTS, MAX_PROBES] = [MAX_SHAPES * 2, 8]

/** A bounded table of shapes. */
export class ShapeTable {
  readonly facts = new Int32Array(MAX_SHAPES * FACTS)
  readonly #slots = new Int32Array(SLOTS)
  /** The last key of each shape, decoded. */
  readonly #names: string[] = ['']

  /** Makes room if the table is full; between two texts, so that a text never loses a shape. */
  prepare(): void {
    if (this.#names.length < MAX_SHAPES) return
    this.#names.length = 1
    this.#slots.fill(0)
    this.facts.fill(0)
  }

  /** The shape that follows `shape` by the key that is written at `at`; 0: none is known. */
  find(shape: number, view: DataView, at: number, size: number): number {
    if (size < 4) return 0
    const slot = hashOf(shape, view, at, size)
    for (let probe = 0; probe < MAX_PROBES; probe++) {
      const found = this.#slots[(slot + probe) % SLOTS]!
      if (found === 0) return 0
      if (this.facts[found + PARENT] === shape && isKey(this.facts, found, view, at, size)) {
        return found
      }
    }
    return 0
  }

  /**
   * Adds the shape that follows `shape` by a key that it does not have.
   *
   * @returns 0 if the shape cannot be kept
   */
  grow(shape: number, view: DataView, at: number, size: number, name: string): number {
    const { facts } = this
    const length = facts[shape + LENGTH]! + 1
    const grown = this.#names.length * FACTS
    if (size < 4 || size > MAX_KEY_BYTES + KEY_MARKS || length > MAX_KEYS) return 0
    if (grown === facts.length) return 0
    const slot = this.#freeSlot(hashOf(shape, view, at, size))
    if (slot === -1) return 0
    this.#slots[slot] = grown
    this.#names.push(name)
    facts[grown + PARENT] = shape
    facts[grown + LENGTH] = length
    facts[grown + SIZE] = size
    const last = at + size - 4
    facts[grown + LAST_WORD] = view.getInt32(last, true)
    for (let word = at, to = grown + WORDS; word < last; word += 4) {
      facts[to++] = view.getInt32(word, true)
    }
    return grown
  }

  has(shape: number, name: string): boolean {
    for (let each = shape; each !== EMPTY_SHAPE; each = this.facts[each + PARENT]!) {
      if (this.#names[each / FACTS] === name) return true
    }
    return false
  }

  /** The keys of a shape, for an object that outgrows it. */
  namesOf(shape: number): Set<string> {
    const names = new Set<string>()
    for (let each = shape; each !== EMPTY_SHAPE; each = this.facts[each + PARENT]!) {
      names.add(this.#names[each / FACTS]!)
    }
    return names
  }

  #freeSlot(slot: number): number {
    for (let probe = 0; probe < MAX_PROBES; probe++) {
      const at = (slot + probe) % SLOTS
      if (this.#slots[at] === 0) return at
    }
    return -1
  }
}

/** Whether the last key of a shape is the one that is written at `at`, where `size` bytes are left. */
function isKey(facts: Int32Array, shape: number, view: DataView, at: number, size: number) {
  const last = at + size - 4
  if (facts[shape + SIZE] !== size) return false
  if (facts[shape + LAST_WORD] !== view.getInt32(last, true)) return false
  let fact = shape + WORDS
  let word = at
  while (word < last && facts[fact] === view.getInt32(word, true)) {
    fact++
    word += 4
  }
  return word >= last
}

/** A search visits few slots whatever the keys are, so the hash needs no secret. */
function hashOf(shape: number, view: DataView, at: number, size: number): number {
  const last = at + size - 4
  let hash = Math.imul(shape + 1, 0x9e3779b1)
  for (let word = at; word < last; word += 4) {
    hash = Math.imul(hash ^ view.getInt32(word, true), 0x85ebca6b)
    hash ^= hash >>> 15
  }
  hash = Math.imul(hash ^ view.getInt32(last, true), 0xc2b2ae35)
  return (hash ^ (hash >>> 15)) & (SLOTS - 1)
}
