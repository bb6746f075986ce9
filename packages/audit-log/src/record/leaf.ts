/** One record as the log holds it: the canonical JSON of a flat object, at most 65 535 bytes. */
import { createHash } from 'node:crypto'
import { MAX_ENTRY_BYTES } from '../log/tiles.ts'
import {
  canonicalize,
  canonicalizeOrdered,
  encodeText,
  type Json,
  type JsonObject,
} from './canonical.ts'

/** How it ended. */
export type AuditResult = 'success' | 'failure' | 'unknown'

/** A member that is a text, a keyed hash (`hmac:…`) or a commitment. */
export type LeafText = string | Commitment

/** What stands in the log for a personal value. */
export interface Commitment {
  /** HMAC-SHA256 of the value under a salt of this place, in base64url. */
  readonly $pii: string
  /** The pseudonym of whose value it is. */
  readonly subject: string
}

/** A record, ready to be written. */
export interface AuditRecord {
  /** The version of this form. */
  readonly v: 1
  /** UUIDv7. */
  readonly id: string
  /** Milliseconds since the Unix epoch. */
  readonly time: number
  readonly action: string
  readonly result: AuditResult
  /** Which of the two records of one action this is. */
  readonly phase?: 'attempt' | 'outcome'
  /** In an outcome, the id of its attempt. */
  readonly attemptId?: string
  readonly principal?: LeafText
  readonly session?: LeafText
  readonly tenant?: LeafText
  readonly ip?: LeafText
  readonly userAgent?: LeafText
  readonly resource?: string
  readonly resourceId?: LeafText
  readonly requestId?: string
  readonly route?: string
  readonly errorCode?: string
  readonly severity?: string
  /** `[{ path, from?, to? }]` */
  readonly changes?: Json
  readonly data?: Json
  /** Where members stand that did not fit: the hash and length of a JSON text kept beside the log. */
  readonly blob?: {
    readonly bytes: number
    readonly members: readonly string[]
    readonly sha256: string
  }
  /** Which writer recorded it, and the how manieth of that writer's records it is; a record of a transaction has no number. */
  readonly writer: string
  readonly seq?: number
}

/**
 * A record on its way: every member in the order of canonical JSON, `undefined` where there is
 * none, so that one call of `JSON.stringify` writes it.
 */
export type Draft = { -readonly [K in keyof AuditRecord]: AuditRecord[K] | undefined } & {
  readonly id: string
  readonly time: number
}

/** A leaf, and what had to move out of it. */
export interface Leaf {
  readonly leaf: string
  /** The text that {@link AuditRecord.blob} names; `null` when everything fits. */
  readonly blob: string | null
}

const TEXTS = [
  'principal',
  'session',
  'tenant',
  'ip',
  'userAgent',
  'resource',
  'resourceId',
  'requestId',
  'route',
  'errorCode',
] as const

/** The longest text a member keeps in the entry itself, in UTF-16 units. */
const MAX_TEXT = 1024
const SHORTENED = 256

/**
 * Numbers a draft and writes it. Long texts are shortened to 256 characters, and `changes` and
 * `data` move out when the whole would be longer than an entry may be; the blob keeps all of them.
 *
 * @param seq `undefined` for a record of a transaction.
 */
export function finishLeaf(draft: Draft, writer: string, seq: number | undefined): Leaf {
  draft.writer = writer
  draft.seq = seq
  const leaf = write(draft)
  if (leaf.length <= MAX_TEXT) return { leaf, blob: null }
  const moved: Record<string, Json> = {}
  for (const name of TEXTS) {
    const value = draft[name]
    if (typeof value !== 'string' || value.length <= MAX_TEXT) continue
    moved[name] = encodeText(value)
    draft[name] = `${value.slice(0, SHORTENED).toWellFormed()}\u2026`
  }
  const hasLongTexts = Object.keys(moved).length > 0
  if (!isTooLong(hasLongTexts ? write(draft) : leaf)) {
    return hasLongTexts ? withBlob(draft, moved) : { leaf, blob: null }
  }
  for (const name of ['changes', 'data'] as const) {
    if (draft[name] !== undefined) moved[name] = draft[name]
    draft[name] = undefined
  }
  return withBlob(draft, moved)
}

function withBlob(draft: Draft, moved: Readonly<Record<string, Json>>): Leaf {
  const blob = canonicalize(moved)
  const sha256 = createHash('sha256').update(blob).digest('hex')
  const members = Object.keys(moved).toSorted()
  draft.blob = { bytes: Buffer.byteLength(blob), members, sha256 }
  return { leaf: write(draft), blob }
}

function write(draft: Draft): string {
  const fast = canonicalizeOrdered(draft)
  if (fast !== undefined) return fast
  const exact = Object.entries(draft).map(([name, value]): [string, unknown] => [
    name,
    typeof value === 'string' ? encodeText(value) : value,
  ])
  return canonicalize(Object.fromEntries(exact) as Json)
}

function isTooLong(leaf: string): boolean {
  // Most records are far shorter, and counting bytes is the slower test.
  return leaf.length * 3 > MAX_ENTRY_BYTES && Buffer.byteLength(leaf) > MAX_ENTRY_BYTES
}

/**
 * Reads an entry of the log. The members are the log's word: whoever needs more calls the verifier.
 *
 * @returns `undefined` for what is not an object of this version.
 */
export function parseLeaf(leaf: string): AuditRecord | undefined {
  try {
    const value = JSON.parse(leaf) as JsonObject | null
    return typeof value === 'object' && value?.['v'] === 1
      ? (value as unknown as AuditRecord)
      : undefined
  } catch {
    return undefined
  }
}
