/** Lists the imports of a source file, in every form that the language has. */
import { parseSync, Visitor, type Expression, type StringLiteral } from 'oxc-parser'

/** One import. */
export interface Import {
  /** The text between the quotes; `null` where it is computed. */
  readonly specifier: string | null
  /** Erased by the compiler, so that no code runs. `import { type A }` still runs its module. */
  readonly typeOnly: boolean
  /** From 1. */
  readonly line: number
}

/**
 * Lists the imports of a file: static and dynamic imports, `export … from`, types by `import('…')`,
 * `import x = require('…')`, `require`, `require.resolve`, `import.meta.resolve` and
 * `/// <reference types>`.
 *
 * @throws Error the text does not parse.
 */
export function readImports(path: string, text: string): Import[] {
  const { program, comments, errors } = parseSync(path, text)
  if (errors.length > 0) throw new Error(`${path} does not parse: ${errors[0]!.message}`)
  const found: { specifier: string | null; typeOnly: boolean; start: number }[] = []
  const add = (source: Expression | StringLiteral, typeOnly: boolean): void => {
    found.push({ specifier: textOf(source), typeOnly, start: source.start })
  }
  new Visitor({
    ImportDeclaration: (node) => add(node.source, node.importKind === 'type'),
    ExportAllDeclaration: (node) => add(node.source, node.exportKind === 'type'),
    ExportNamedDeclaration(node) {
      if (node.source !== null) add(node.source, node.exportKind === 'type')
    },
    ImportExpression: (node) => add(node.source, false),
    TSImportType: (node) => add(node.source, true),
    TSImportEqualsDeclaration({ moduleReference, importKind }) {
      if (moduleReference.type === 'TSExternalModuleReference') {
        add(moduleReference.expression, importKind === 'type')
      }
    },
    CallExpression({ callee, arguments: [argument] }) {
      if (argument === undefined || argument.type === 'SpreadElement') return
      if (isLoader(callee)) add(argument, false)
    },
  }).visit(program)
  for (const { type, value, start } of comments) {
    const specifier = /^\/\s*<reference\s+(?:types|path)="([^"]+)"/.exec(value)?.[1]
    if (type === 'Line' && specifier !== undefined) found.push({ specifier, typeOnly: true, start })
  }
  return found.map(({ start, ...rest }) => ({ ...rest, line: lineAt(text, start) }))
}

function textOf(node: Expression | StringLiteral): string | null {
  if (node.type === 'Literal' && typeof node.value === 'string') return node.value
  if (node.type === 'TemplateLiteral' && node.expressions.length === 0) {
    return node.quasis[0]?.value.cooked ?? null
  }
  return null
}

/** `require(…)`, `require.resolve(…)` or `import.meta.resolve(…)`. */
function isLoader(callee: Expression): boolean {
  if (callee.type === 'Identifier') return callee.name === 'require'
  if (callee.type !== 'MemberExpression' || callee.computed) return false
  const { object, property } = callee
  if (property.type !== 'Identifier' || property.name !== 'resolve') return false
  return (
    (object.type === 'Identifier' && object.name === 'require') || object.type === 'MetaProperty'
  )
}

function lineAt(text: string, offset: number): number {
  return text.slice(0, offset).split('\n').length
}
