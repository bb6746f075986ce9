/** Finds what no query string and no form should contain. */

/** Why a parameter is refused. */
export type ParameterFault =
  | 'parameter_count'
  | 'duplicate_parameter'
  | 'prototype_key'
  | 'operator_key'
  | 'method_override'
  | 'nul'
  | 'lone_surrogate'

/** What parameters may be. */
export interface ParameterRules {
  readonly maxParameters: number
  readonly refuseOperators: boolean
  readonly refuseOverride: boolean
  /** Names that may be sent several times; `null`: all. */
  readonly lists: ReadonlySet<string> | null
}

/** `__proto__`, `a[__proto__]`, `constructor.prototype`, `a[constructor][prototype]`; not `?prototype=1` */
const PROTOTYPE = /(?:^|[.[])(?:__proto__|constructor\]?[.[]+prototype)(?:$|[.[\]])/
/** `$ne`, `a[$ne]` */
const OPERATOR = /(?:^|[.[])\$/
/** `_method`, `_METHOD`, `_method[]` */
const OVERRIDE = /^_method(?:$|[.[])/i
const SURROGATE = /\p{Surrogate}/u
const MAX_DEPTH = 32

/** Checks the parsed parameters of a query string or a form, those of nested parsers included. */
export function findParameterFault(
  parameters: object,
  rules: ParameterRules,
): ParameterFault | undefined {
  const budget = { left: rules.maxParameters }
  return findIn(parameters, rules, budget, 0, '')
}

function findIn(
  values: object,
  rules: ParameterRules,
  budget: { left: number },
  depth: number,
  parent: string,
): ParameterFault | undefined {
  if (depth > MAX_DEPTH) return 'parameter_count'
  const isArray = Array.isArray(values)
  for (const name of Object.keys(values)) {
    if (--budget.left < 0) return 'parameter_count'
    // Nested parsers have split `constructor[prototype]` already.
    if (name === 'prototype' && parent === 'constructor') return 'prototype_key'
    const fault = isArray ? undefined : nameFault(name, rules)
    if (fault !== undefined) return fault
    const value = (values as Record<string, unknown>)[name]
    if (typeof value === 'string') {
      if (value.includes('\0')) return 'nul'
      if (SURROGATE.test(value)) return 'lone_surrogate'
    } else if (typeof value === 'object' && value !== null) {
      const repeats = Array.isArray(value) && depth === 0
      if (repeats && rules.lists !== null && !rules.lists.has(name)) return 'duplicate_parameter'
      const inner = findIn(value, rules, budget, depth + 1, name)
      if (inner !== undefined) return inner
    }
  }
  return undefined
}

function nameFault(
  name: string,
  { refuseOperators, refuseOverride }: ParameterRules,
): ParameterFault | undefined {
  if (PROTOTYPE.test(name)) return 'prototype_key'
  if (name.includes('\0')) return 'nul'
  if (refuseOperators && OPERATOR.test(name)) return 'operator_key'
  return refuseOverride && OVERRIDE.test(name) ? 'method_override' : undefined
}
