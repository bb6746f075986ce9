/** Judges valid JSON in the simplest way: token by token, with a set of keys for every object. */
import type { JsonFault, JsonLimits } from '../src/json/scan-json.ts'

const TOKEN = /"(?:[^"\\]|\\.)*"|[[\]{},:]|[^\s"[\]{},:]+/gs
const HALF = /[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/

interface Open {
  readonly names: Set<string> | undefined
  items: number
}

/** @param text valid JSON. @returns the first fault in reading order */
export function judgeJson(text: string, limits: JsonLimits): JsonFault | null {
  const tokens = text.match(TOKEN) ?? []
  const open: Open[] = []
  let keys = 0
  let hasConstructor = false
  for (const [index, token] of tokens.entries()) {
    const inner = open.at(-1)
    if (token === '{' || token === '[') {
      if (open.length >= limits.maxDepth) return 'depth'
      open.push({ names: token === '{' ? new Set() : undefined, items: 1 })
    } else if (token === ']' || token === '}') {
      if (token === ']' && inner!.items > limits.maxArrayLength) return 'array_length'
      open.pop()
    } else if (token === ',') inner!.items++
    else if (token.startsWith('"')) {
      const value = JSON.parse(token) as string
      const [nul, half] = [value.indexOf('\0'), value.search(HALF)]
      if (nul !== -1 && (half === -1 || nul < half)) return 'nul'
      if (half !== -1) return 'lone_surrogate'
      const size = Buffer.byteLength(token) - 2
      const isKey = tokens[index + 1] === ':'
      if (size > limits.maxStringBytes || (isKey && size > 1024)) return 'string_bytes'
      if (!isKey) continue
      if (++keys > limits.maxKeys) return 'key_count'
      hasConstructor ||= value === 'constructor'
      if (value === '__proto__' || (value === 'prototype' && hasConstructor)) return 'prototype_key'
      if (limits.refuseOperators && value.startsWith('$')) return 'operator_key'
      if (inner!.names!.has(value)) return 'duplicate_key'
      inner!.names!.add(value)
    } else if (/^-?\d/.test(token) && limits.refuseInexactNumbers) {
      const isExact = /[.eE]/.test(token)
        ? Number.isFinite(Number(token))
        : Number.isSafeInteger(Number(token))
      if (!isExact) return 'inexact_number'
    }
  }
  return null
}
