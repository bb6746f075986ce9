/** Checks what people write. */
import { PARAPET_INCIDENT_RESPONSE_INVALID_ARGUMENT } from '../errors.ts'
import { storableJson } from '../store/storable.ts'

const MAX_NOTE = 2000
const MAX_NAME = 200

/** A name that a person gives. @throws PARAPET_INCIDENT_RESPONSE_INVALID_ARGUMENT */
export function nameOf(what: string, value: string, max = MAX_NAME): string {
  const isText = typeof value === 'string' && value.trim() !== '' && value.length <= max
  if (isText && value.isWellFormed() && !value.includes('\0')) return value
  return refuse(`"${what}"`, `must be a non-empty text of at most ${max} characters`)
}

/** The id of a person. In the timeline a `:` marks what rules and playbooks do. */
export function personOf(by: string): string {
  return nameOf('by', by).replaceAll(':', '_')
}

/** A text that a person writes. @throws PARAPET_INCIDENT_RESPONSE_INVALID_ARGUMENT */
export function textOf(note: string | undefined): string | undefined {
  if (note === undefined) return undefined
  if (typeof note !== 'string' || !note.isWellFormed() || note.includes('\0')) {
    refuse('"note"', 'must be a well-formed text')
  }
  if (note.length > MAX_NOTE) refuse('"note"', `must have at most ${MAX_NOTE} characters`)
  return note
}

const MAX_PARAMETERS = 16_384

/** The parameters of an action: small, and storable. @throws PARAPET_INCIDENT_RESPONSE_INVALID_ARGUMENT */
export function parametersOf(
  parameters: Readonly<Record<string, unknown>>,
): Readonly<Record<string, unknown>> {
  const text = jsonOf(parameters)
  if (text === undefined || text.length > MAX_PARAMETERS) {
    refuse('"with"', `must be an object of at most ${MAX_PARAMETERS} characters of JSON`)
  }
  const copy = JSON.parse(text) as Readonly<Record<string, unknown>>
  if (storableJson(copy) !== text) refuse('"with"', 'must have well-formed texts without U+0000')
  return copy
}

/** @returns `undefined`: it is no object, or nested so deeply that it cannot be written. */
function jsonOf(value: unknown): string | undefined {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return undefined
  try {
    return JSON.stringify(value)
  } catch {
    return undefined
  }
}

/** @throws PARAPET_INCIDENT_RESPONSE_INVALID_ARGUMENT */
export function refuse(what: string, problem: string): never {
  throw new PARAPET_INCIDENT_RESPONSE_INVALID_ARGUMENT(what, problem)
}
