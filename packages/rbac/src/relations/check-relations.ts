/** Finds the mistakes in the relations of a policy. */
import {
  EVERYONE,
  plainTypes,
  PRINCIPAL_TYPE,
  relationOf,
  type RelationsDocument,
} from './relation-plan.ts'

/** Returns a line for each name that is not declared, with its path. */
export function relationFaults(relations: RelationsDocument): string[] {
  const faults: string[] = []
  for (const [type, members] of Object.entries(relations)) {
    if (type === PRINCIPAL_TYPE) {
      faults.push(`  relations.${type}: is the type of principals, which has no relations`)
    }
    for (const [relation, { direct, includes }] of Object.entries(members)) {
      const path = `relations.${type}.${relation}`
      if (direct.length + includes.length === 0) {
        faults.push(`  ${path}: must have at least one entry in "direct" or "includes"`)
      }
      for (const each of direct) {
        const problem = directProblem(relations, each)
        if (problem !== undefined) faults.push(`  ${path}.direct: ${problem}`)
      }
      for (const each of includes) {
        const problem = includedProblem(relations, type, each)
        if (problem !== undefined) faults.push(`  ${path}.includes: ${problem}`)
      }
    }
  }
  return faults
}

function directProblem(relations: RelationsDocument, subject: string): string | undefined {
  if (subject === PRINCIPAL_TYPE || subject === `${PRINCIPAL_TYPE}:${EVERYONE}`) return undefined
  const [type = '', relation] = subject.split('#', 2)
  const isKnown =
    relation === undefined
      ? Object.hasOwn(relations, type)
      : relationOf(relations, type, relation) !== undefined
  return isKnown ? undefined : `names "${subject}", which the policy does not declare`
}

function includedProblem(
  relations: RelationsDocument,
  type: string,
  name: string,
): string | undefined {
  const [first = '', next] = name.split('.', 2)
  const link = relationOf(relations, type, first)
  if (link === undefined) return `names "${first}", which "${type}" does not declare`
  if (next === undefined) return undefined
  const types = plainTypes(link.direct)
  const isKnown = types.some((each) => relationOf(relations, each, next) !== undefined)
  return isKnown
    ? undefined
    : `names "${name}", but no type in "${first}.direct" declares "${next}"`
}
