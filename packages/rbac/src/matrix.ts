/** The matrix: every route against every role, as data, as Markdown and as HTML. */
import type { Engine } from './engine.ts'
import { Guard, type RouteRule, type RuleNode } from './rules.ts'

/** What one role may do with one route; `conditional`: it depends on the resource or the surroundings. */
export type MatrixCell = 'allow' | 'conditional' | 'deny'

/** One route. */
export interface MatrixRow {
  readonly method: string
  readonly url: string
  /** The rule as a person reads it. */
  readonly rule: string
  readonly anonymous: 'allow' | 'deny'
  readonly roles: Readonly<Record<string, MatrixCell>>
}

/** Routes against roles. It is plain data, so it can be kept in a file and compared. */
export interface Matrix {
  readonly policyDigest: string
  readonly roles: readonly string[]
  readonly rows: readonly MatrixRow[]
  toMarkdown(): string
  toHtml(): string
}

/** A route and its rule. */
export interface DeclaredRoute {
  readonly method: string
  readonly url: string
  readonly rule: RouteRule
}

const SIGNS = { allow: '●', conditional: '◐', deny: '○' } as const
const HEADINGS = ['Route', 'Rule', 'anonymous'] as const
const OUTLOOKS = { sure: 'allow', maybe: 'conditional', never: 'deny' } as const

/** Draws the matrix of the routes under one policy. */
export function createMatrix(engine: Engine, routes: readonly DeclaredRoute[]): Matrix {
  const roles = engine.model.roleNames
  const rows = routes
    .map((route) => createRow(engine, roles, route))
    .toSorted((a, b) => compareTexts(a.url, b.url) || compareTexts(a.method, b.method))
  const table = [
    [...HEADINGS, ...roles],
    ...rows.map(({ method, url, rule, anonymous, roles: cells }) => [
      `${method} ${url}`,
      rule,
      SIGNS[anonymous],
      ...roles.map((role) => SIGNS[cells[role]!]),
    ]),
  ]
  return {
    policyDigest: engine.digest,
    roles,
    rows,
    toMarkdown: () => writeMarkdown(table),
    toHtml: () => writeHtml(table),
  }
}

/** What one role may do with a rule. */
export function cellOf(engine: Engine, role: string, rule: RouteRule): MatrixCell {
  if (rule.kind !== 'guarded') return 'allow'
  const subject = engine.subjectOf({ id: '', roles: [role] })
  return OUTLOOKS[new Guard(rule.node, engine).outlook(subject)]
}

/** A rule as a person reads it. */
export function describeRule({ kind, why, node }: RouteRule): string {
  return kind === 'guarded' ? describeNode(node) : `${kind}: ${why}`
}

function describeNode(node: RuleNode): string {
  if (node.op === 'permission') return node.permission
  return `(${node.of.map(describeNode).join(node.op === 'any' ? ' or ' : ' and ')})`
}

function createRow(
  engine: Engine,
  roles: readonly string[],
  { method, url, rule }: DeclaredRoute,
): MatrixRow {
  const cells = roles.map((role) => [role, cellOf(engine, role, rule)])
  return {
    method,
    url,
    rule: describeRule(rule),
    anonymous: rule.kind === 'public' ? 'allow' : 'deny',
    roles: Object.fromEntries(cells) as Record<string, MatrixCell>,
  }
}

function writeMarkdown(table: readonly (readonly string[])[]): string {
  const lines = table.map((row) => `| ${row.map(escapeMarkdown).join(' | ')} |`)
  const rule = `|${table[0]!.map(() => '---').join('|')}|`
  return [lines[0], rule, ...lines.slice(1)].join('\n')
}

function writeHtml(table: readonly (readonly string[])[]): string {
  const [head, ...body] = table
  const rows = body.map((cells) => writeHtmlRow(cells, 'td')).join('\n')
  return `<table>\n<thead>${writeHtmlRow(head!, 'th')}</thead>\n<tbody>\n${rows}\n</tbody>\n</table>`
}

function writeHtmlRow(cells: readonly string[], tag: 'td' | 'th'): string {
  return `<tr>${cells.map((cell) => `<${tag}>${escapeHtml(cell)}</${tag}>`).join('')}</tr>`
}

function escapeMarkdown(text: string): string {
  return text.replaceAll(/[\\|`*_<>[\]]/g, '\\$&').replaceAll(/\s+/g, ' ')
}

function escapeHtml(text: string): string {
  const entities: Record<string, string> = {
    '&': '&amp;',
    '<': '&lt;',
    '>': '&gt;',
    '"': '&quot;',
    "'": '&#39;',
  }
  return text.replaceAll(/[&<>"']/g, (sign) => entities[sign]!)
}

function compareTexts(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0
}
