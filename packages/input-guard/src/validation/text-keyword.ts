/** The keyword `x-guard`, and the lengths of texts. It is code within the code of Ajv: a call of a keyword costs more than most checks. */
import { _, Name, str, type Ajv, type CodeKeywordDefinition, type KeywordCxt } from 'ajv'
import { GUARD, fault, refuseType, type CheckTools, type TextCheck } from '../types/check.ts'
import type { ValidationRun } from './run.ts'
import { compileTextCheck } from './text-checks.ts'

/** Adds the keyword to an instance of Ajv. @param run receives what checks report */
export function addTextKeyword(ajv: Ajv, tools: CheckTools, run: ValidationRun): void {
  ajv.addKeyword(textKeyword(tools, run))
  replaceLength(ajv, 'minLength')
  replaceLength(ajv, 'maxLength')
}

/** Runs before `maxLength`, so that the bounds apply to the text that the handler gets. */
function textKeyword(tools: CheckTools, run: ValidationRun): CodeKeywordDefinition {
  return {
    keyword: GUARD,
    type: 'string',
    schemaType: 'object',
    before: 'maxLength',
    error: {
      message: ({ params }) => _`${params['fault']}.message`,
      params: ({ params }) => _`{ code: ${params['fault']}.code }`,
    },
    code(context) {
      const { gen, data, it, parentSchema } = context
      const { check, mostUnits } = createCheck(parentSchema as TextSchema, tools)
      const called = gen.scopeValue('func', { ref: check })
      const shared = gen.scopeValue('obj', { ref: run })
      // `maxLength` refuses a longer text; no check must read it.
      const isShort = _`${data}.length <= ${mostUnits}`
      const result = gen.const('result', _`${isShort} ? ${called}(${data}, ${shared}) : ${data}`)
      gen.if(_`${shared}.hasNews`, () => {
        const pointer = str`${new Name('instancePath')}${it.errorPath}`
        gen.code(_`${shared}.place(${pointer}, ${it.errSchemaPath})`)
      })
      gen.if(_`typeof ${result} == "string" && ${result} !== ${data} && ${it.parentData}`, () => {
        gen.code(_`${shared}.change(${it.parentData}, ${it.parentDataProperty}, ${result})`)
        gen.assign(data, result)
      })
      context.setParams({ fault: result })
      context.fail(_`typeof ${result} != "string"`)
    },
  }
}

interface TextSchema {
  readonly [GUARD]?: unknown
  readonly maxLength?: unknown
}

interface BoundedCheck {
  readonly check: TextCheck
  readonly mostUnits: number
}

function createCheck(
  { [GUARD]: settings, maxLength }: TextSchema,
  tools: CheckTools,
): BoundedCheck {
  const check = compileTextCheck(settings, tools)
  if (typeof maxLength !== 'number') refuseType('"x-guard"', 'the schema needs "maxLength"')
  if (!isHtml(settings)) return { check, mostUnits: mostUnitsOf(maxLength) }
  const tooLong = fault('max_length', `must NOT have more than ${maxLength} characters`)
  return {
    check: (text, report) => (isLonger(text, maxLength) ? tooLong : check(text, report)),
    mostUnits: Number.POSITIVE_INFINITY,
  }
}

/** HTML is as long as it was sent; sanitizing may make it longer. */
function isHtml(settings: unknown): boolean {
  return (settings as { readonly type?: unknown } | undefined)?.type === 'html'
}

/** Ajv counts the characters of each text, which takes longer than the other checks of a long one. */
function replaceLength(ajv: Ajv, keyword: 'minLength' | 'maxLength'): void {
  const rule = ajv.RULES.all[keyword]
  if (rule === undefined || typeof rule === 'boolean') return
  rule.definition = {
    ...rule.definition,
    code(context: KeywordCxt) {
      const { gen, data, parentSchema } = context
      if (keyword === 'maxLength' && isHtml(parentSchema[GUARD])) return
      const bound = context.schema as number
      const longer = gen.scopeValue('func', { ref: isLonger })
      context.fail(
        keyword === 'maxLength'
          ? _`${data}.length > ${bound} && ${longer}(${data}, ${bound})`
          : _`!${longer}(${data}, ${bound - 1})`,
      )
    },
  } as typeof rule.definition
}

/** `maxLength` counts characters, of which each has at most two units. */
export function mostUnitsOf(maxLength: number): number {
  return 2 * maxLength
}

/** Whether a text has more characters than that. */
function isLonger(text: string, maxLength: number): boolean {
  if (text.length <= maxLength || text.length > mostUnitsOf(maxLength)) {
    return text.length > maxLength
  }
  let units = 0
  for (let characters = 0; characters < maxLength && units < text.length; characters++) {
    units += text.codePointAt(units)! > 0xffff ? 2 : 1
  }
  return units < text.length
}
