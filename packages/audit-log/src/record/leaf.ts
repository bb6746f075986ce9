/** A record as an entry of the log: the canonical JSON of a flat object, at most 65 535 bytes. */
import { createHash } from 'node:crypto'
import {
  canonicalize,
  canonicalizeOrdered,
  encodeText,
  type Json,
  type JsonObject,
} from './canonical-json.ts'

/** The maximum length of an entry in bytes. @see https://c2sp.org/tlog-tiles */
export const MAX_ENTRY_BYTES = 65_535

/** The result of an action. */
export type AuditResult = 'success' | 'failure' | 'unknown'

/** A text, a keyed hash (`hmac:…`) or a commitment. */
export type LeafText = string | Commitment

/** Replaces a personal value in the log. */
export interface Commitment {
  /** HMAC-SHA256 of the value with a salt for this record and path, in base64url. */
  readonly $pii: string
  /** The hash of the encrypted value and its key, so that neither can be exchanged. */
  readonly sealed?: string
  /** The pseudonym of the subject. */
  readonly subject: string
}

/** A record of the log. */
export interface AuditRecord {
  /** The version of the format. */
  readonly v: 1
  /** UUIDv7. */
  readonly id: string
  /** Milliseconds since the Unix epoch. */
  readonly time: number
  readonly action: string
  readonly result: AuditResult
  /** Which of two records this is: of an `attempt+outcome` action, or of a client that left before the reply. */
  readonly phase?: 'attempt' | 'outcome'
  /** In an outcome: the id of the attempt. */
  readonly attemptId?: string
  readonly principal?: LeafText
  /** The operator who acted as the principal. */
  readonly actor?: LeafText
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
  /** The status code of the reply, for requests with an audit rule. */
  readonly status?: number
  /** `[{ path, from?, to? }]` */
  readonly changes?: Json
  readonly data?: Json
  /** Members that did not fit into the entry: hash and length of a JSON text that is stored separately. */
  readonly blob?: {
    readonly bytes: number
    readonly members: readonly string[]
    readonly sha256: string
  }
  /** The name of the writer: a new one at each start of a process; `tx` for an app's transaction. */
  readonly writer: string
  /** The number of the record among those of its writer, from 0; absent for `tx`. */
  readonly seq?: number
}

/**
 * A record before it is numbered. Its members are in canonical order, and `undefined` if absent, so
 * that one call of `JSON.stringify` writes canonical JSON.
 */
export type Draft = { -readonly [K in keyof AuditRecord]: AuditRecord[K] | undefined } & {
  readonly id: string
  readonly time: number
}

/** An entry, and the members that did not fit into it. */
export interface Leaf {
  readonly leaf: string
  /** The text that {@link AuditRecord.blob} describes; `null` if everything fits. */
  readonly blob: string | null
}

const TEXTS = [
  'principal',
  'actor',
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

/** The maximum length of a text in the entry itself, in UTF-16 code units. */
const MAX_TEXT = 1024
const SHORTENED = 256

/**
 * Numbers a draft and writes it. Long texts are shortened to 256 characters. `changes` and `data` are
 * moved to the blob if the entry would be too long. The blob has the complete values.
 *
 * @param seq `undefined` for a record of an app's transaction.
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
  // Counting bytes is slow, and most records are far shorter.
  return leaf.length * 3 > MAX_ENTRY_BYTES && Buffer.byteLength(leaf) > MAX_ENTRY_BYTES
}

/**
 * Parses an entry without validating its members; see `isValidRecord`.
 *
 * @returns `undefined` if the entry is not a JSON object of this version.
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
