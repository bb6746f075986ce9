/** Finds the values of a request: of the path, the query, the headers, the cookies and the body. */
import type { SignaturePart } from '../signatures/signature.ts'
import { isUsual, partOf } from './headers.ts'
import { entriesOf, isPlainObject, textOf } from './plain-data.ts'
import type { RequestParts } from './types.ts'

/** Where a value is: written out only when it is needed. */
export interface Place {
  readonly part: SignaturePart
  /** `query`, `header`, `cookie`, `body` or `path`. */
  readonly root: string
  readonly names: readonly string[]
}

/** What is done with the values. */
export interface Visitor {
  value(value: string, place: Place): void
  /** What lies beyond a limit is not looked at. */
  limit(id: string, place: Place): void
}

/** Limits of a walk. */
export interface WalkLimits {
  readonly maxDepth: number
  readonly maxValues: number
}

/** Visits all values of a request. */
export function walkRequest(parts: RequestParts, limits: WalkLimits, visitor: Visitor): void {
  const walk = new Walk(limits, visitor)
  if (parts.url !== undefined) walk.target(parts.url)
  if (parts.headers !== undefined) walk.headers(parts.headers)
  if (parts.body !== undefined && parts.body !== null) walk.body(parts.body)
}

class Walk {
  readonly #limits: WalkLimits
  readonly #visitor: Visitor
  readonly #names: string[] = []
  /** The objects around the one at hand, so that a body that holds itself ends. */
  readonly #around: object[] = []
  #left: number

  constructor(limits: WalkLimits, visitor: Visitor) {
    this.#limits = limits
    this.#visitor = visitor
    this.#left = limits.maxValues
  }

  target(url: string): void {
    const mark = url.indexOf('?')
    const path = mark < 0 ? url : url.slice(0, mark)
    if (path.length > 1) this.#visit(path, { part: 'path', root: 'path', names: [] })
    if (mark >= 0) this.#pairs(url.slice(mark + 1), '&', 'query')
  }

  headers(headers: NonNullable<RequestParts['headers']>): void {
    for (const name of Object.keys(headers)) {
      const value = headers[name]
      if (typeof value !== 'string' && !Array.isArray(value)) continue
      if (name === 'cookie') {
        this.#pairs(typeof value === 'string' ? value : value.join(';'), ';', 'cookie')
        continue
      }
      const part = partOf(name)
      const values: readonly string[] = typeof value === 'string' ? [value] : value
      for (const each of values) {
        if (isUsual(name, each)) continue
        this.#visit(each, { part, root: 'header', names: [name] })
      }
    }
  }

  body(body: unknown): void {
    this.#any(body, 0)
  }

  /** `a=b&c=d`, as it came: with `+` for a blank, and encoded. */
  #pairs(text: string, separator: string, part: 'query' | 'cookie'): void {
    let from = 0
    while (from <= text.length) {
      const found = text.indexOf(separator, from)
      const end = found < 0 ? text.length : found
      const equals = text.indexOf('=', from)
      const hasValue = equals >= 0 && equals < end
      const rawName = text.slice(from, hasValue ? equals : end)
      const name = part === 'query' ? blanks(rawName) : rawName.trim()
      if (name !== '') this.#visit(name, { part: 'name', root: part, names: [name] })
      if (hasValue) {
        const raw = text.slice(equals + 1, end)
        const value = part === 'query' ? blanks(raw) : raw
        if (value !== '') this.#visit(value, { part, root: part, names: [name] })
      }
      if (this.#left < 0) return
      from = end + 1
    }
  }

  #any(value: unknown, depth: number): void {
    if (this.#left < 0) return
    if (typeof value === 'string') {
      const place = { part: 'body', root: 'body', names: this.#names } as const
      if (value !== '') this.#visit(value, place)
      return
    }
    if (typeof value === 'object' && value !== null) this.#inner(value, depth)
  }

  #inner(value: object, depth: number): void {
    const place = { part: 'body', root: 'body', names: this.#names } as const
    if (this.#around.includes(value) || !this.#take(place)) return
    if (depth >= this.#limits.maxDepth) return this.#visitor.limit('protocol.depth', place)
    this.#around.push(value)
    if (Array.isArray(value)) for (const item of value) this.#any(item, depth + 1)
    else if (isFormPart(value)) this.#formPart(value, depth)
    else if (isPlainObject(value)) this.#object(value, depth)
    else this.#other(value, depth)
    this.#around.pop()
  }

  #object(value: Readonly<Record<string, unknown>>, depth: number): void {
    for (const name of Object.keys(value)) this.#member(name, readOf(value, name), depth)
  }

  #other(value: object, depth: number): void {
    const entries = entriesOf(value)
    if (entries === undefined) return this.#any(textOf(value), depth + 1)
    for (const [name, item] of entries) {
      if (typeof name === 'string') this.#member(name, item, depth)
      else this.#any(item, depth + 1)
    }
  }

  #member(name: string, value: unknown, depth: number): void {
    this.#names.push(name)
    if (name !== '') this.#visit(name, { part: 'name', root: 'body', names: this.#names })
    this.#any(value, depth + 1)
    this.#names.pop()
  }

  #formPart(part: FormPart, depth: number): void {
    const names = this.#names
    if (typeof part.filename === 'string') {
      this.#visit(part.filename, { part: 'filename', root: 'body', names })
    }
    if (typeof part.mimetype === 'string')
      this.#visit(part.mimetype, { part: 'body', root: 'body', names })
    this.#any(part.value, depth + 1)
  }

  #visit(value: string, place: Place): void {
    if (this.#take(place)) this.#visitor.value(value, place)
  }

  /** @returns whether one more may be looked at. */
  #take(place: Place): boolean {
    if (this.#left === 0) this.#visitor.limit('protocol.values', place)
    return this.#left-- > 0
  }
}

/** @returns `undefined` for what cannot be read. */
function readOf(value: Readonly<Record<string, unknown>>, name: string): unknown {
  try {
    return value[name]
  } catch {
    return undefined
  }
}

/** A part of a multipart body as `@fastify/multipart` attaches it; it refers to the whole body. */
interface FormPart {
  readonly fieldname: string
  readonly filename?: unknown
  readonly mimetype?: unknown
  readonly value?: unknown
}

/** Only a part refers to the object that holds it; JSON cannot, so a client cannot pretend. */
function isFormPart(value: object): value is FormPart {
  if (!('fieldname' in value && 'fields' in value)) return false
  const { fieldname, fields } = value as Readonly<Record<string, unknown>>
  if (typeof fieldname !== 'string' || typeof fields !== 'object' || fields === null) return false
  const held = (fields as Readonly<Record<string, unknown>>)[fieldname]
  return held === value || (Array.isArray(held) && held.includes(value))
}

function blanks(text: string): string {
  return text.includes('+') ? text.replaceAll('+', ' ') : text
}
