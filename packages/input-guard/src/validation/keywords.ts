/** The keywords of this package, and those of Ajv that must not run on texts beyond their `maxLength`. */
import type {
  Ajv,
  AnySchemaObject,
  CodeKeywordDefinition,
  Format,
  FuncKeywordDefinition,
  KeywordCxt,
} from 'ajv'
import { GUARD, fault, refuseType, type CheckTools, type Fault } from '../types/check.ts'
import { RANGE_GUARD, compileRange } from '../types/dates.ts'
import { JSON_GUARD, compileJson } from '../types/json.ts'
import { NUMBER_GUARD, compileDecimals } from '../types/numbers.ts'
import { checkBoundsFirst } from './bounds-first.ts'
import { keepBranchesApart } from './branches.ts'
import type { ValidationRun } from './run.ts'
import { compileTextCheck } from './text-checks.ts'

type DataValidateFunction = ReturnType<NonNullable<FuncKeywordDefinition['compile']>>

/** Adds the keywords to an instance of Ajv. @param run receives what checks report */
export function addGuardKeywords(ajv: Ajv, tools: CheckTools, run: ValidationRun): void {
  ajv.addKeyword(textKeyword(tools, run))
  ajv.addKeyword(faultKeyword(JSON_GUARD, undefined, compileJson))
  ajv.addKeyword(faultKeyword(NUMBER_GUARD, 'number', compileDecimals))
  ajv.addKeyword(faultKeyword(RANGE_GUARD, 'object', compileRange))
  ajv.removeKeyword('pattern').addKeyword(patternKeyword)
  ajv.removeKeyword('format').addKeyword(formatKeyword(ajv))
  checkBoundsFirst(ajv)
  keepBranchesApart(ajv, run)
  skipMaxLength(ajv)
}

/** HTML is as long as it was sent; sanitizing may make it longer. */
function skipMaxLength(ajv: Ajv): void {
  const rule = ajv.RULES.all['maxLength']
  if (rule === undefined || typeof rule === 'boolean') return
  const definition = rule.definition as CodeKeywordDefinition
  rule.definition = {
    ...definition,
    code(context: KeywordCxt) {
      if (!isHtml(context.parentSchema[GUARD])) definition.code(context)
    },
  } as typeof rule.definition
}

function isHtml(settings: unknown): boolean {
  return (settings as { readonly type?: unknown } | undefined)?.type === 'html'
}

/** Refuses members with `readOnly` in the body of a request. @see OpenAPI 3.1, section 4.8.24 */
export function refuseReadOnly(ajv: Ajv): void {
  ajv.removeKeyword('readOnly').addKeyword({
    keyword: 'readOnly',
    schemaType: 'boolean',
    validate: (isReadOnly: boolean) => !isReadOnly,
    error: { message: 'must not be sent, because it is read-only' },
  })
}

/** Runs before `maxLength`, so that the bounds apply to the text that the handler gets. */
function textKeyword(tools: CheckTools, run: ValidationRun): FuncKeywordDefinition {
  return {
    keyword: GUARD,
    type: 'string',
    schemaType: 'object',
    modifying: true,
    before: 'maxLength',
    compile(settings: unknown, node, { errSchemaPath: place }) {
      const check = compileTextCheck(settings, tools)
      const most = mostUnits(node)
      if (most === undefined) refuseType('"x-guard"', 'the schema needs "maxLength"')
      const longHtml = isHtml(settings)
        ? fault('max_length', `must NOT have more than ${most / 2} characters`)
        : undefined
      const validate: DataValidateFunction = (text: string, cxt) => {
        if (longHtml !== undefined && isLonger(text, most / 2)) return refuse(validate, longHtml)
        // `maxLength` refuses it; no check must read it.
        if (text.length > most) return true
        run.pointer = cxt!.instancePath
        run.place = place
        const result = check(text, run)
        if (typeof result !== 'string') return refuse(validate, result)
        const parent = cxt!.parentData as Record<string | number, unknown> | undefined
        if (result !== text && parent !== undefined) {
          run.change(parent, cxt!.parentDataProperty, result)
        }
        return true
      }
      return validate
    },
  }
}

function faultKeyword(
  keyword: string,
  type: 'number' | 'object' | undefined,
  compile: (settings: never) => (value: never) => Fault | undefined,
): FuncKeywordDefinition {
  return {
    keyword,
    schemaType: 'object',
    ...(type === undefined ? undefined : { type }),
    compile(settings: unknown) {
      const check = compile(settings as never)
      const validate: DataValidateFunction = (value: unknown) => {
        const found = check(value as never)
        return found === undefined || refuse(validate, found)
      }
      return validate
    },
  }
}

/** Ajv lists all faults, so without this a pattern would run on a text that `maxLength` refuses. */
const patternKeyword: FuncKeywordDefinition = {
  keyword: 'pattern',
  type: 'string',
  schemaType: 'string',
  compile(pattern: string, parent) {
    const expression = new RegExp(pattern, 'u')
    const most = mostUnits(parent) ?? Number.POSITIVE_INFINITY
    const found = { code: 'pattern', message: `must match pattern "${pattern}"` }
    const validate: DataValidateFunction = (text: string) =>
      text.length > most || expression.test(text) || refuse(validate, found)
    return validate
  },
}

/** A text with a check of this package needs no second one for its format. */
function formatKeyword(ajv: Ajv): FuncKeywordDefinition {
  return {
    keyword: 'format',
    type: ['string', 'number'],
    schemaType: 'string',
    compile(name: string, parent) {
      if (GUARD in parent) return () => true
      const test = readFormat(name, ajv.formats[name])
      const most = mostUnits(parent) ?? Number.POSITIVE_INFINITY
      const found = { code: 'format', message: `must match format "${name}"` }
      const validate: DataValidateFunction = (value: string | number) =>
        (typeof value === 'string' && value.length > most) || test(value) || refuse(validate, found)
      return validate
    },
  }
}

function readFormat(name: string, format: Format | undefined): (value: unknown) => boolean {
  if (format === undefined) refuseType('of a schema', `the format "${name}" is unknown`)
  if (format === true) return () => true
  const isPlain =
    typeof format === 'string' || typeof format === 'function' || format instanceof RegExp
  const { type = 'string', validate } = isPlain
    ? { validate: format }
    : (format as { readonly type?: string; readonly validate: unknown })
  const test =
    typeof validate === 'function'
      ? (validate as (value: unknown) => boolean)
      : (value: unknown) => expressionOf(validate).test(value as string)
  return (value) => typeof value !== type || test(value)
}

function expressionOf(pattern: unknown): RegExp {
  return pattern instanceof RegExp ? pattern : new RegExp(String(pattern), 'u')
}

/** `maxLength` counts characters, of which each has at most two units. */
function mostUnits({ maxLength }: AnySchemaObject): number | undefined {
  return typeof maxLength === 'number' ? 2 * maxLength : undefined
}

function isLonger(text: string, maxLength: number): boolean {
  if (text.length <= maxLength) return false
  return text.length > 2 * maxLength || Array.from(text).length > maxLength
}

function refuse(validate: DataValidateFunction, { code, message }: Fault): false {
  validate.errors = [{ message, params: { code } }]
  return false
}
