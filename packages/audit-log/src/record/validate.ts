/** Validates records and attachments from the inbox, which other processes can write. */
import { isActionName } from './actions.ts'
import type { AuditRecord } from './leaf.ts'
import type { Attachments } from './personal-data.ts'
import { MARKABLE } from './texts.ts'

const ID = /^[0-9a-f-]{1,64}$/
/** The latest time that an ECMAScript date can represent. */
const MAX_TIME = 8_640_000_000_000_000
const RESULTS = new Set<unknown>(['success', 'failure', 'unknown'])
const TEXTS = ['resource', 'requestId', 'route', 'errorCode', 'severity', 'attemptId'] as const

/** Whether a text has the form of a record's id. */
export function isRecordId(id: string): boolean {
  return ID.test(id)
}

/** Whether the members have the types that the log, its columns and its readers rely on. */
export function isValidRecord(record: AuditRecord): boolean {
  const { id, time, action, result, seq } = record as unknown as Readonly<Record<string, unknown>>
  if (typeof id !== 'string' || !isRecordId(id)) return false
  if (typeof action !== 'string' || !isActionName(action) || !RESULTS.has(result)) return false
  if (!Number.isSafeInteger(time) || (time as number) < 0 || (time as number) > MAX_TIME) {
    return false
  }
  if (seq !== undefined && (!Number.isSafeInteger(seq) || (seq as number) < 0)) return false
  return (
    TEXTS.every((name) => isText(record[name])) &&
    MARKABLE.every((name) => isTextOrCommitment(record[name]))
  )
}

/** Parses the attachments of a record; `undefined` if they are invalid. */
export function parseAttachments(text: string): Attachments | undefined {
  try {
    const value = JSON.parse(text) as Partial<Record<keyof Attachments, unknown>> | null
    if (typeof value !== 'object' || value === null) return undefined
    const { keys = [], values = [], blob } = value
    const areValid =
      isListOf(keys, ['id', 'subject', 'sealed']) &&
      isListOf(values, ['record', 'path', 'subject', 'keyId', 'sealed']) &&
      isText(blob)
    return areValid ? (value as Attachments) : undefined
  } catch {
    return undefined
  }
}

function isText(value: unknown): boolean {
  return value === undefined || typeof value === 'string'
}

function isTextOrCommitment(value: unknown): boolean {
  if (isText(value)) return true
  if (typeof value !== 'object' || value === null) return false
  const { $pii, subject } = value as Readonly<Record<string, unknown>>
  return typeof $pii === 'string' && isPseudonym(subject)
}

function isListOf(list: unknown, names: readonly string[]): boolean {
  return Array.isArray(list) && list.every((item: unknown) => isItem(item, names))
}

/** No text may contain NUL, because a column cannot hold it. A subject is also used as a file name. */
function isItem(item: unknown, names: readonly string[]): boolean {
  if (typeof item !== 'object' || item === null) return false
  const members = item as Readonly<Record<string, unknown>>
  const { createdAt = 0, subject } = members
  return (
    Number.isSafeInteger(createdAt) &&
    isPseudonym(subject) &&
    names.every((name) => {
      const value = members[name]
      return typeof value === 'string' && !value.includes('\u0000')
    })
  )
}

function isPseudonym(value: unknown): boolean {
  return typeof value === 'string' && /^[0-9a-f]{32}$/.test(value)
}
