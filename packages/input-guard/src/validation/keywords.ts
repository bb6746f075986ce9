/** The keywords of this package, and those of Ajv that must not run on texts beyond their `maxLength`. */
import {
  _,
  type Ajv,
  type AnySchemaObject,
  type CodeKeywordDefinition,
  type Format,
  type FuncKeywordDefinition,
} from 'ajv'
import { GUARD, refuseType, type CheckTools, type Fault } from '../types/check.ts'
import { RANGE_GUARD, compileRange } from '../types/dates.ts'
import { JSON_GUARD, compileJson } from '../types/json.ts'
import { NUMBER_GUARD, compileDecimals } from '../types/numbers.ts'
import { checkBoundsFirst } from './bounds-first.ts'
import { keepBranchesApart } from './branches.ts'
import type { ValidationRun } from './run.ts'
import { addTextKeyword, mostUnitsOf } from './text-keyword.ts'

type DataValidateFunction = ReturnType<NonNullable<FuncKeywordDefinition['compile']>>

/** Adds the keywords to an instance of Ajv. @param run receives what checks report */
export function addGuardKeywords(ajv: Ajv, tools: CheckTools, run: ValidationRun): void {
  addTextKeyword(ajv, tools, run)
  ajv.addKeyword(faultKeyword(JSON_GUARD, undefined, compileJson))
  ajv.addKeyword(faultKeyword(NUMBER_GUARD, 'number', compileDecimals))
  ajv.addKeyword(faultKeyword(RANGE_GUARD, 'object', compileRange))
  ajv.removeKeyword('pattern').addKeyword(patternKeyword)
  ajv.removeKeyword('format').addKeyword(formatKeyword(ajv))
  checkBoundsFirst(ajv)
  keepBranchesApart(ajv, run)
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
    const most = unitsOf(parent)
    const found = { code: 'pattern', message: `must match pattern "${pattern}"` }
    const validate: DataValidateFunction = (text: string) =>
      text.length > most || expression.test(text) || refuse(validate, found)
    return validate
  },
}

/** A text with a check of this package needs no second one for its format. */
function formatKeyword(ajv: Ajv): CodeKeywordDefinition {
  return {
    keyword: 'format',
    type: ['string', 'number'],
    schemaType: 'string',
    error: {
      message: ({ schema }) => `must match format "${schema}"`,
      params: _`{ code: "format" }`,
    },
    code(context) {
      const { gen, data, parentSchema } = context
      if (GUARD in parentSchema) return
      const name = context.schema as string
      const test = readFormat(name, ajv.formats[name])
      const most = unitsOf(parentSchema)
      const isFormat = gen.scopeValue('func', {
        ref: (value: string | number) =>
          (typeof value === 'string' && value.length > most) || test(value),
      })
      context.fail(_`!${isFormat}(${data})`)
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

function unitsOf({ maxLength }: AnySchemaObject): number {
  return typeof maxLength === 'number' ? mostUnitsOf(maxLength) : Number.POSITIVE_INFINITY
}

function refuse(validate: DataValidateFunction, { code, message }: Fault): false {
  validate.errors = [{ message, params: { code } }]
  return false
}
