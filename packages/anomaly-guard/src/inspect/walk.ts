/** Finds the values of a request: of the path, the query, the headers, the cookies and the body. */
import type { SignaturePart } from '../signatures/signature.ts'
import type { RequestParts } from './types.ts'

/** Where a value is: written out only when it is needed. */
export interface Place {
  readonly part: SignaturePart
  /** `query`, `header`, `cookie`, `body` or `path`. */
  readonly root: string
  readonly names: readonly string[]
}

/** What is done with the values; a visitor that returns false ends the walk. */
export interface Visitor {
  value(value: string, place: Place): void
  /** Something in the form of the request itself. */
  fault(id: string, place: Place): void
}

/** Limits of a walk. */
export interface WalkLimits {
  readonly maxDepth: number
  readonly maxValues: number
}

/** Headers that no application reads as text, or that the browser writes. */
const SKIPPED = new Set([
  'authorization',
  'proxy-authorization',
  'connection',
  'content-length',
  'date',
  'dnt',
  'host',
  'if-match',
  'if-modified-since',
  'if-none-match',
  'if-unmodified-since',
  'sec-ch-ua',
  'sec-ch-ua-full-version-list',
  'sec-ch-ua-mobile',
  'sec-ch-ua-platform',
  'sec-fetch-dest',
  'sec-fetch-mode',
  'sec-fetch-site',
  'sec-fetch-user',
  'sec-gpc',
  'upgrade-insecure-requests',
])
const FILE_HEADER = /^x-?(?:original-?)?file-?name$/

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
      if ((typeof value !== 'string' && !Array.isArray(value)) || SKIPPED.has(name)) continue
      if (name === 'cookie') {
        this.#pairs(typeof value === 'string' ? value : value.join(';'), ';', 'cookie')
        continue
      }
      const part = partOf(name)
      const values: readonly string[] = typeof value === 'string' ? [value] : value
      for (const each of values) {
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
    if (typeof value !== 'object' || value === null || ArrayBuffer.isView(value)) return
    if (depth >= this.#limits.maxDepth) {
      this.#visitor.fault('protocol.depth', { part: 'body', root: 'body', names: this.#names })
      return
    }
    if (Array.isArray(value)) for (const item of value) this.#any(item, depth + 1)
    else if (isFormPart(value)) this.#formPart(value, depth)
    else this.#object(value as Readonly<Record<string, unknown>>, depth)
  }

  #object(value: Readonly<Record<string, unknown>>, depth: number): void {
    for (const name of Object.keys(value)) {
      this.#names.push(name)
      const place = { part: 'name', root: 'body', names: this.#names } as const
      this.#visit(name, place)
      this.#any(value[name], depth + 1)
      this.#names.pop()
    }
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
    this.#left--
    if (this.#left === -1) this.#visitor.fault('protocol.values', place)
    if (this.#left >= 0) this.#visitor.value(value, place)
  }
}

function partOf(header: string): SignaturePart {
  if (header === 'user-agent') return 'agent'
  return FILE_HEADER.test(header) ? 'filename' : 'header'
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
