/** What is wrong with settings of the inspection: a typo would exempt nothing, or look for too much. */

/** Kinds of attack that the inspection names. */
export const attackClasses = [
  'sqli',
  'xss',
  'traversal',
  'command',
  'code',
  'xxe',
  'log4shell',
  'crlf',
  'template',
  'nosql',
  'prototype',
  'ldap',
  'ssrf',
  'scanner',
  'protocol',
] as const

/** The treatments of a field. */
const fieldTreatments = ['skip', 'base64'] as const

/** `path`, a whole body, or a member; the last name may be `*`, and names of headers are in lower case. */
const LOCATION =
  /^(?:path|body|(?:query|cookie|body)\.[^*]*[^*.]|header\.[^*A-Z]*[^*.A-Z]|(?:query|cookie|body|header)(?:\.[^*]*[^*.])?\.\*)$/

/** @returns the problem, which continues the name of the setting; `undefined`: none. */
export function findWithoutProblem(without: unknown): string | undefined {
  const known: readonly unknown[] = attackClasses
  if (Array.isArray(without) && without.every((each) => known.includes(each))) return undefined
  return `must be a list of ${attackClasses.join(', ')}`
}

/** As {@link findWithoutProblem}, of the setting `fields`. */
export function findFieldsProblem(fields: unknown): string | undefined {
  if (typeof fields !== 'object' || fields === null || Array.isArray(fields)) {
    return 'must be an object of treatments by location'
  }
  for (const [location, treatment] of Object.entries(fields)) {
    const name = JSON.stringify(location.slice(0, 64))
    if (!LOCATION.test(location)) {
      return `has the location ${name}, which must be as "body.article.text", "query.id", "header.referer" or "body.article.*"`
    }
    if (!(fieldTreatments as readonly unknown[]).includes(treatment)) {
      return `has a treatment of ${name} that is neither "skip" nor "base64"`
    }
  }
  return undefined
}

interface SchemaNode {
  readonly [keyword: string]: unknown
  readonly properties?: Readonly<Record<string, SchemaNode>>
  readonly items?: SchemaNode
}

/**
 * The first location that the schemas of a route exclude; `undefined`: none. Where a schema leaves open what is
 * inside, so does this.
 */
export function findExcludedField(
  fields: object,
  schema: { readonly body?: unknown; readonly querystring?: unknown },
): string | undefined {
  return Object.keys(fields).find((location) => {
    const [root, ...names] = location.split('.')
    const node = root === 'body' ? schema.body : root === 'query' ? schema.querystring : undefined
    return node !== undefined && isExcluded(node as SchemaNode, names)
  })
}

function isExcluded(given: SchemaNode, names: readonly string[]): boolean {
  // Items have the location of their array.
  let node: SchemaNode | undefined = given
  while (node?.items !== undefined) node = node.items
  const [name, ...rest] = names
  if (node?.properties === undefined || name === undefined || name === '*') return false
  const member = Object.hasOwn(node.properties, name) ? node.properties[name] : undefined
  if (member !== undefined) return isExcluded(member, rest)
  const isOpen = ['$ref', 'allOf', 'anyOf', 'oneOf', 'patternProperties'].some((key) => key in node)
  return node['additionalProperties'] === false && !isOpen
}
