/**
 * Ajv lists all faults, so without this file it would check each item of an array that `maxItems` refuses, and
 * compare each with all others for `uniqueItems`.
 */
import { _, type Ajv, type CodeKeywordDefinition, type FuncKeywordDefinition } from 'ajv'

/** Keywords that visit every item or member, and the bound that must hold before. */
const VISITING = {
  additionalItems: 'maxItems',
  items: 'maxItems',
  contains: 'maxItems',
  propertyNames: 'maxProperties',
  additionalProperties: 'maxProperties',
  patternProperties: 'maxProperties',
} as const

/** Replaces the keywords of an instance. */
export function checkBoundsFirst(ajv: Ajv): void {
  ajv.removeKeyword('uniqueItems').addKeyword(uniqueItems)
  for (const [name, bound] of Object.entries(VISITING)) {
    const definition = ajv.getKeyword(name)
    if (typeof definition !== 'object') continue
    ajv.removeKeyword(name).addKeyword(bounded(definition as CodeKeywordDefinition, bound))
  }
}

function bounded(
  definition: CodeKeywordDefinition,
  bound: 'maxItems' | 'maxProperties',
): CodeKeywordDefinition {
  return {
    ...definition,
    code(cxt, ruleType) {
      const most: unknown = (cxt.parentSchema as Record<string, unknown>)[bound]
      // A schema below `not` or `if` ends at its first fault, and Ajv checks the bounds first.
      if (typeof most !== 'number' || cxt.it.allErrors !== true) {
        definition.code(cxt, ruleType)
        return
      }
      const size = bound === 'maxItems' ? _`${cxt.data}.length` : _`Object.keys(${cxt.data}).length`
      cxt.gen.if(_`${size} <= ${most}`, () => definition.code(cxt, ruleType))
    },
  }
}

/** In linear time, by a text that equal items have in common. */
const uniqueItems: FuncKeywordDefinition = {
  keyword: 'uniqueItems',
  type: 'array',
  schemaType: 'boolean',
  compile(isUnique: boolean, { maxItems = Number.POSITIVE_INFINITY }) {
    return (items: readonly unknown[]) =>
      !isUnique || items.length > Number(maxItems) || areDistinct(items)
  },
  error: { message: 'must NOT have duplicate items' },
}

function areDistinct(items: readonly unknown[]): boolean {
  return new Set(items.map(canonical)).size === items.length
}

/** JSON with the members of objects in order. */
function canonical(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonical).join()}]`
  if (typeof value !== 'object' || value === null) return JSON.stringify(value) ?? ''
  const record = value as Record<string, unknown>
  const members = Object.keys(record)
    .toSorted()
    .map((name) => `${JSON.stringify(name)}:${canonical(record[name])}`)
  return `{${members.join()}}`
}
