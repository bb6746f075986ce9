/** The titles of the tests of a file, by its syntax tree. */
import { parseSync } from 'oxc-parser'

interface Node {
  readonly type: string
  readonly [key: string]: unknown
}

/**
 * Lists the first argument of every call of a method `test`, if it is a text. The variable parts of a
 * template are written as in the source: `${name} is recorded`.
 */
export function listTestTitles(file: string, text: string): string[] {
  const titles: string[] = []
  visit(parseSync(file, text).program, (node) => {
    const callee = node['callee'] as Node | undefined
    if (node.type !== 'CallExpression' || callee?.type !== 'MemberExpression') return
    if ((callee['property'] as Node | undefined)?.['name'] !== 'test') return
    const title = titleOf((node['arguments'] as readonly Node[])[0], text)
    if (title !== undefined) titles.push(title)
  })
  return titles
}

function titleOf(node: Node | undefined, text: string): string | undefined {
  if (node?.type === 'Literal' && typeof node['value'] === 'string') return node['value']
  if (node?.type !== 'TemplateLiteral') return undefined
  return text.slice((node['start'] as number) + 1, (node['end'] as number) - 1)
}

function visit(value: unknown, look: (node: Node) => void): void {
  if (typeof value !== 'object' || value === null) return
  if ('type' in value && typeof value.type === 'string') look(value as Node)
  for (const child of Object.values(value)) visit(child, look)
}
