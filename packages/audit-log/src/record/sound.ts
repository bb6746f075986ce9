/** Whether what came through an inbox has the form that the log, its columns and its readers rely on. */
import { isActionName } from './actions.ts'
import type { AuditRecord } from './leaf.ts'
import type { Beside } from './personal.ts'

const ID = /^[0-9a-f-]{1,64}$/
/** The last millisecond that a date of ECMAScript has. */
const MAX_TIME = 8_640_000_000_000_000
const RESULTS = new Set<unknown>(['success', 'failure', 'unknown'])
const MARKABLE = ['principal', 'session', 'tenant', 'ip', 'userAgent', 'resourceId'] as const
const TEXTS = ['resource', 'requestId', 'route', 'errorCode', 'severity', 'attemptId'] as const

/** The types of a record are its own word until this has looked. */
export function isSound(record: AuditRecord): boolean {
  const { id, time, action, result } = record as unknown as Readonly<Record<string, unknown>>
  if (typeof id !== 'string' || !ID.test(id)) return false
  if (typeof action !== 'string' || !isActionName(action) || !RESULTS.has(result)) return false
  if (!Number.isSafeInteger(time) || (time as number) < 0 || (time as number) > MAX_TIME) {
    return false
  }
  return (
    TEXTS.every((name) => isText(record[name])) && MARKABLE.every((name) => isMarked(record[name]))
  )
}

/** Reads what came beside a record; `undefined` for any other form. */
export function parseBeside(text: string): Beside | undefined {
  try {
    const value = JSON.parse(text) as Partial<Record<keyof Beside, unknown>> | null
    if (typeof value !== 'object' || value === null) return undefined
    const { keys = [], values = [], blob } = value
    const areSound =
      isListOf(keys, ['id', 'subject', 'sealed']) &&
      isListOf(values, ['record', 'path', 'subject', 'keyId', 'sealed']) &&
      isText(blob)
    return areSound ? (value as Beside) : undefined
  } catch {
    return undefined
  }
}

function isText(value: unknown): boolean {
  return value === undefined || typeof value === 'string'
}

function isMarked(value: unknown): boolean {
  if (isText(value)) return true
  if (typeof value !== 'object' || value === null) return false
  const { $pii, subject } = value as Readonly<Record<string, unknown>>
  return typeof $pii === 'string' && isPseudonym(subject)
}

function isListOf(list: unknown, names: readonly string[]): boolean {
  return Array.isArray(list) && list.every((item: unknown) => isItem(item, names))
}

/** Every text could end in a column, which holds no NUL; a subject also names a file. */
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
