/** Reads a stored condition strictly. */
import type { Condition, Constant, Operand, Ref } from './condition.ts'
import type { ShapeReader } from './shape-reader.ts'

const MAX_DEPTH = 32
const MAX_PARTS = 1000
const COMPARISONS = new Set(
  'eq ne lt lte gt gte in containsAny containsAll startsWith under'.split(' '),
)
const REF = /^[a-z]+(?:\.[A-Za-z][A-Za-z0-9_]*){1,8}$/
const RELATION = /^[A-Za-z][A-Za-z0-9_]*#[A-Za-z][A-Za-z0-9_]*$/
const NEVER: Condition = Object.freeze({ op: 'or', of: [] })

/** Reads one condition and returns a frozen copy. */
export function readCondition(
  value: unknown,
  path: string,
  shape: ShapeReader,
  depth = 0,
): Condition {
  if (depth > MAX_DEPTH) {
    shape.fault(path, `is nested more than ${MAX_DEPTH} levels deep`)
    return NEVER
  }
  const op = (value as { op?: unknown } | null | undefined)?.op
  if (op === 'and' || op === 'or') {
    const { of } = shape.record(value, path, ['op', 'of'])
    // An empty "and" would always be true.
    if (!Array.isArray(of) || of.length === 0 || of.length > MAX_PARTS) {
      shape.fault(`${path}.of`, `must be an array of 1 to ${MAX_PARTS} conditions`)
      return NEVER
    }
    const parts = of.map((part: unknown, i) =>
      readCondition(part, `${path}.${op}[${i}]`, shape, depth + 1),
    )
    return Object.freeze({ op, of: Object.freeze(parts) })
  }
  if (op === 'not') {
    const { of } = shape.record(value, path, ['op', 'of'])
    return Object.freeze({ op, of: readCondition(of, `${path}.not`, shape, depth + 1) })
  }
  return readLeaf(value, op, path, shape)
}

function readLeaf(value: unknown, op: unknown, path: string, shape: ShapeReader): Condition {
  if (typeof op === 'string' && COMPARISONS.has(op)) {
    const source = shape.record(value, path, ['op', 'left', 'right'])
    return Object.freeze({
      op: op as 'eq',
      left: readOperand(source['left'], `${path}.left`, shape),
      right: readOperand(source['right'], `${path}.right`, shape),
    })
  }
  if (op === 'exists') {
    const source = shape.record(value, path, ['op', 'left'])
    return Object.freeze({ op, left: readRef(source['left'], `${path}.left`, shape) })
  }
  if (op === 'related') {
    const source = shape.record(value, path, ['op', 'relation', 'left'])
    return Object.freeze({
      op,
      relation: shape.text(source['relation'], `${path}.relation`, RELATION),
      left: readRef(source['left'], `${path}.left`, shape),
    })
  }
  if (op === 'cidr') {
    const source = shape.record(value, path, ['op', 'left', 'blocks'])
    const left = readRef(source['left'], `${path}.left`, shape)
    const blocks = shape.names(source['blocks'], `${path}.blocks`, /^[0-9a-fA-F:./]+$/, MAX_PARTS)
    return Object.freeze({ op, left, blocks })
  }
  if (op === 'during') {
    const source = shape.record(value, path, ['op', 'left', 'from', 'until', 'days', 'timeZone'])
    return Object.freeze({
      op,
      left: readRef(source['left'], `${path}.left`, shape),
      from: shape.text(source['from'], `${path}.from`, /^\d\d:\d\d$/),
      until: shape.text(source['until'], `${path}.until`, /^\d\d:\d\d$/),
      days: shape.names(source['days'], `${path}.days`, /^[a-z]{3}$/, 7) as never,
      timeZone: shape.text(source['timeZone'], `${path}.timeZone`, /^[A-Za-z0-9_+/-]+$/),
    })
  }
  shape.fault(path, `has the unknown operator ${JSON.stringify(op)}`)
  return NEVER
}

function readOperand(value: unknown, path: string, shape: ShapeReader): Operand {
  if (typeof value === 'object' && value !== null && 'ref' in value) {
    return readRef(value, path, shape)
  }
  const { value: constant } = shape.record(value, path, ['value'])
  if (!isConstant(constant)) {
    shape.fault(
      path,
      'must be { ref } or { value } with a string, a number, a boolean or a list of one kind',
    )
  }
  return Object.freeze({
    value: (Array.isArray(constant)
      ? Object.freeze([...(constant as unknown[])])
      : constant) as Constant,
  })
}

function isConstant(value: unknown): boolean {
  if (typeof value === 'string') return value.isWellFormed()
  if (typeof value === 'number') return Number.isFinite(value)
  if (typeof value === 'boolean') return true
  if (!Array.isArray(value) || value.length > MAX_PARTS) return false
  const kind = typeof value[0]
  return (
    value.length === 0 ||
    ((kind === 'string' || kind === 'number') &&
      value.every((entry) => typeof entry === kind && isConstant(entry)))
  )
}

function readRef(value: unknown, path: string, shape: ShapeReader): Ref {
  const { ref, plusMs } = shape.record(value, path, ['ref', 'plusMs'])
  const name = shape.text(ref, path, REF)
  if (plusMs === undefined) return Object.freeze({ ref: name })
  if (!Number.isSafeInteger(plusMs)) {
    shape.fault(path, `must have a safe integer as "plusMs", got ${JSON.stringify(plusMs)}`)
  }
  return Object.freeze({ ref: name, plusMs: plusMs as number })
}
