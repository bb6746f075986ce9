/** What names, keys, payloads and options of jobs may be. */
import { createHash } from 'node:crypto'
import { uuidV7 } from '../crypto/uuid.ts'
import { PARAPET_KIT_INVALID_ARGUMENT } from '../errors.ts'
import type { EnqueueOptions, JobData, JobOptions } from './jobs.ts'

const NAME = /^[a-z][a-z0-9._-]{0,63}$/
const MAX_DATA_CHARACTERS = 65_536
const MAX_ERROR_CHARACTERS = 500
/** The last millisecond of the year 9999, the last one of RFC 3339. */
const LATEST_MS = 253_402_300_799_999

/** The bounds of the options, and their defaults. */
const OPTIONS = {
  retries: { min: 0, max: 20, byDefault: 5 },
  backoffMs: { min: 1000, max: 3_600_000, byDefault: 1000 },
  timeoutMs: { min: 1000, max: 82_800_000, byDefault: 60_000 },
  concurrency: { min: 1, max: 100, byDefault: 1 },
} as const satisfies Record<keyof JobOptions, object>

/** @throws PARAPET_KIT_INVALID_ARGUMENT */
export function requireName(name: string): void {
  if (typeof name === 'string' && NAME.test(name)) return
  throw new PARAPET_KIT_INVALID_ARGUMENT(
    'the name of the job',
    'must start with a letter and have 1 to 64 characters of "a-z", "0-9", ".", "_" and "-"',
  )
}

/** Reads the options. @throws PARAPET_KIT_INVALID_ARGUMENT */
export function readJobOptions(name: string, options: JobOptions): Required<JobOptions> {
  const unknown = Object.keys(options).find((key) => !(key in OPTIONS))
  if (unknown !== undefined) refuse(name, `have no "${unknown}"`)
  const read = (key: keyof JobOptions): number => {
    const { min, max, byDefault } = OPTIONS[key]
    const value = options[key] ?? byDefault
    if (!Number.isSafeInteger(value) || value < min || value > max) {
      refuse(name, `need "${key}" as an integer from ${min} to ${max}, got ${String(value)}`)
    }
    return value
  }
  const backoffMs = read('backoffMs')
  // pg-boss counts in seconds.
  if (backoffMs % 1000 !== 0) refuse(name, `need "backoffMs" in whole seconds, got ${backoffMs}`)
  const [retries, timeoutMs] = [read('retries'), read('timeoutMs')]
  return { retries, backoffMs, timeoutMs, concurrency: read('concurrency') }
}

function refuse(name: string, problem: string): never {
  throw new PARAPET_KIT_INVALID_ARGUMENT(`the options of the job "${name}"`, problem)
}

/** Checks and copies a payload. @throws PARAPET_KIT_INVALID_ARGUMENT */
export function copyData(data: JobData): JobData {
  const text = stringify(data)
  // A Date is an object, but its JSON is not.
  if (text?.[0] !== '{' || text.length > MAX_DATA_CHARACTERS) {
    const problem = `must be a JSON object of at most ${MAX_DATA_CHARACTERS} characters`
    throw new PARAPET_KIT_INVALID_ARGUMENT('the data of the job', problem)
  }
  // PostgreSQL stores no U+0000 and no lone surrogate in JSON.
  if (/(?<!\\)(?:\\\\)*\\u(?:0000|d[89a-f])/i.test(text)) {
    const problem = 'must not contain U+0000 or a lone surrogate'
    throw new PARAPET_KIT_INVALID_ARGUMENT('the data of the job', problem)
  }
  return JSON.parse(text) as JobData
}

/** @returns `undefined` for what JSON cannot hold, such as a BigInt or a circle. */
function stringify(data: unknown): string | undefined {
  try {
    return JSON.stringify(data)
  } catch {
    return undefined
  }
}

/** The id of a job: derived from its key, so that the storage refuses a second one. */
export function identify(queue: string, { key, at }: EnqueueOptions): { id: string; key: string } {
  if (at !== undefined && !(typeof at === 'number' && at >= 0 && at <= LATEST_MS)) {
    const problem = `must be milliseconds since the epoch, from 0 to ${LATEST_MS}, got ${String(at)}`
    throw new PARAPET_KIT_INVALID_ARGUMENT('"at"', problem)
  }
  if (key !== undefined) return { id: idOf(queue, key), key }
  const id = uuidV7()
  return { id, key: id }
}

/** The id for a key: a UUID of version 8. @see RFC 9562, section 5.8 */
export function idOf(queue: string, key: string): string {
  const isText = typeof key === 'string' && key.length > 0 && key.length <= 256
  if (!isText || !key.isWellFormed() || key.includes('\0')) {
    const problem = 'must be a well-formed string of 1 to 256 characters'
    throw new PARAPET_KIT_INVALID_ARGUMENT('the key of the job', problem)
  }
  const bytes = createHash('sha256').update(`${queue}\0${key}`).digest().subarray(0, 16)
  bytes[6] = (bytes[6]! & 0x0f) | 0x80
  bytes[8] = (bytes[8]! & 0x3f) | 0x80
  const hex = bytes.toString('hex')
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5')
}

/** What is stored of an error. */
export function describeError(error: unknown): string {
  const { code, name } = (error ?? {}) as { readonly code?: unknown; readonly name?: unknown }
  const kind = typeof code === 'string' ? code : typeof name === 'string' ? name : typeof error
  const text = error instanceof Error ? `${kind}: ${error.message}` : kind
  return text.replaceAll('\0', '').slice(0, MAX_ERROR_CHARACTERS).toWellFormed()
}
