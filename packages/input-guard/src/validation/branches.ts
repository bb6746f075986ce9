/** Keeps the branches of a schema apart: one that does not match must not change the value for the others. */
import { _, type Ajv, type CodeKeywordDefinition, type KeywordCxt, type Name } from 'ajv'
import type { ValidationRun } from './run.ts'

const COMBINING = ['anyOf', 'oneOf', 'not', 'if', 'contains'] as const

/** Makes an instance of Ajv restore what a branch changed that does not match. */
export function keepBranchesApart(ajv: Ajv, run: ValidationRun): void {
  for (const keyword of COMBINING) {
    const rule = ajv.RULES.all[keyword]
    if (rule === undefined || typeof rule === 'boolean') continue
    const definition = rule.definition as CodeKeywordDefinition
    // The definition is shared by all instances, the rule is not.
    rule.definition = {
      ...definition,
      code(context: KeywordCxt, ruleType?: string) {
        watchBranches(context, run)
        definition.code(context, ruleType)
      },
    } as typeof rule.definition
  }
}

/** Every branch that the keyword compiles is followed by a check whether it matched. */
function watchBranches(context: KeywordCxt, run: ValidationRun): void {
  const { gen, it } = context
  const compile = context.subschema.bind(context)
  context.subschema = (branch, valid: Name) => {
    const shared = gen.scopeValue('obj', { ref: run })
    const mark = gen.const('mark', _`${shared}.mark()`)
    const compiled = compile(branch, valid)
    gen.if(_`!${valid}`, () => {
      gen.code(_`${shared}.rollback(${mark})`)
      // The code of Ajv holds the value in a variable.
      if (it.dataLevel === 0) {
        // A request without a body is validated as null.
        gen.if(it.parentData, () =>
          gen.assign(it.data, _`${it.parentData}[${it.parentDataProperty}] ?? null`),
        )
      } else gen.assign(it.data, _`${it.parentData}[${it.parentDataProperty}]`)
    })
    return compiled
  }
}
