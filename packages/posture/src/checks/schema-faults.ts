/** What JSON schemas leave open. */

type Schema = Readonly<Record<string, unknown>>

const MAX_DEPTH = 12
const COMBINED = ['allOf', 'anyOf', 'oneOf'] as const

function isSchema(value: unknown): value is Schema {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** Visits a schema and its parts; the path is `items[].name`. */
function visit(
  schema: unknown,
  path: string,
  look: (schema: Schema, path: string) => void,
  depth = 0,
): void {
  if (!isSchema(schema) || depth > MAX_DEPTH) return
  look(schema, path)
  const { properties, items } = schema
  if (isSchema(properties)) {
    for (const [name, member] of Object.entries(properties)) {
      visit(member, path === '' ? name : `${path}.${name}`, look, depth + 1)
    }
  }
  visit(items, `${path}[]`, look, depth + 1)
  for (const key of COMBINED) {
    const parts = schema[key]
    if (Array.isArray(parts)) for (const part of parts) visit(part, path, look, depth + 1)
  }
}

/** Texts without a length, lists without a number of items, and numbers that name an amount without a maximum. */
export function findUnbounded(schema: unknown): string[] {
  const found: string[] = []
  visit(schema, '', (part, path) => {
    const { type } = part
    const isFixed = part['enum'] !== undefined || part['const'] !== undefined
    const isShaped = part['format'] !== undefined || part['pattern'] !== undefined
    const isOpenText = type === 'string' && !isFixed && !isShaped && part['maxLength'] === undefined
    const isOpenList = type === 'array' && part['maxItems'] === undefined
    const isAmount =
      /(?:^|\.)(?:limit|page_?size|per_?page|take|first|count|offset|skip|quantity|amount)$/i.test(
        path,
      )
    const isOpenNumber =
      isAmount &&
      (type === 'integer' || type === 'number') &&
      part['maximum'] === undefined &&
      part['exclusiveMaximum'] === undefined
    if (isOpenText || isOpenList || isOpenNumber) found.push(path === '' ? '(all)' : path)
  })
  return [...new Set(found)]
}

/** Objects that accept members which they do not list. */
export function findOpenObjects(schema: unknown): string[] {
  const found: string[] = []
  visit(schema, '', (part, path) => {
    if (part['type'] !== 'object' && !isSchema(part['properties'])) return
    const isClosed =
      part['additionalProperties'] === false || part['unevaluatedProperties'] === false
    const isMap = isSchema(part['additionalProperties']) || part['patternProperties'] !== undefined
    if (!isClosed && !isMap && part['$ref'] === undefined)
      found.push(path === '' ? 'the body' : path)
  })
  // Parts of a combination are closed by the whole.
  const isCombined = isSchema(schema) && COMBINED.some((key) => schema[key] !== undefined)
  return isCombined && schema['unevaluatedProperties'] === false ? [] : [...new Set(found)]
}

/** The patterns in a schema. */
export function findPatterns(schema: unknown): string[] {
  const found: string[] = []
  visit(schema, '', ({ pattern }) => {
    if (typeof pattern === 'string') found.push(pattern)
  })
  return found
}

/** The members of a schema whose mark says personal, and those whose name does; a mark of `false` ends the question. */
export function findPersonal(schema: unknown): {
  readonly marked: string[]
  readonly unmarked: string[]
} {
  const marked: string[] = []
  const unmarked: string[] = []
  visit(schema, '', (part, path) => {
    if (path === '') return
    const mark = part['x-personal'] ?? part['x-pii'] ?? part['x-sensitive'] ?? part['personal']
    const name = path.slice(path.lastIndexOf('.') + 1).replace('[]', '')
    if (mark !== undefined && mark !== false) marked.push(path)
    else if (mark === undefined && PERSONAL.test(name)) unmarked.push(path)
  })
  return { marked: [...new Set(marked)], unmarked: [...new Set(unmarked)] }
}

const PERSONAL =
  /^(?:ssn|social_?security(?:_?number)?|tax_?id|passport(?:_?number)?|national_?id|date_?of_?birth|dob|birth_?(?:date|day)|iban|card_?number|credit_?card|cvv|phone(?:_?number)?|mobile|home_?address|street|health\w*|diagnosis|religion|gender|ethnicity|salary|bank_?account)$/i
