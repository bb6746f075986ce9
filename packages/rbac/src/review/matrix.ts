/** The matrix: every route against every role. */
import type { Engine } from '../decide/engine.ts'
import type { Right } from '../decide/rights.ts'
import { describeRule, type DeclaredRoute } from '../decide/route-rule.ts'
import { rightOfRole } from '../decide/rule-guard.ts'
import { writeHtml, writeMarkdown } from './matrix-text.ts'

/** One route. */
export interface MatrixRow {
  readonly method: string
  readonly url: string
  /** The rule in words. */
  readonly rule: string
  readonly anonymous: 'allow' | 'deny'
  /** What each role may do; `conditional`: it depends on the resource or the environment. */
  readonly roles: Readonly<Record<string, Right>>
}

/** Routes against roles. It is plain data, so it can be stored in a file and compared. */
export interface Matrix {
  readonly policyDigest: string
  readonly roles: readonly string[]
  readonly rows: readonly MatrixRow[]
  toMarkdown(): string
  toHtml(): string
}

const SIGNS = { allow: '●', conditional: '◐', deny: '○' } as const
const HEADINGS = ['Route', 'Rule', 'anonymous'] as const

/** Creates the matrix of routes under one policy. @param scopes of the credential that calls them. */
export function createMatrix(
  engine: Engine,
  routes: readonly DeclaredRoute[],
  scopes?: readonly string[],
): Matrix {
  const roles = engine.model.roleNames
  const rows = routes
    .map((route) => createRow(engine, roles, route, scopes))
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

function createRow(
  engine: Engine,
  roles: readonly string[],
  { method, url, rule }: DeclaredRoute,
  scopes: readonly string[] | undefined,
): MatrixRow {
  return {
    method,
    url,
    rule: describeRule(rule),
    anonymous: rule.kind === 'public' ? 'allow' : 'deny',
    roles: Object.fromEntries(roles.map((role) => [role, rightOfRole(engine, role, rule, scopes)])),
  }
}

function compareTexts(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0
}
