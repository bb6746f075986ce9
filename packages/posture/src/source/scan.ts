/** Scans a text of JavaScript or TypeScript with every rule. */
import type { SourceHit } from '../facts/facts.ts'
import { callOf, childrenOf, isFunction, isNode, type Node } from './ast.ts'
import type { Found, Rule } from './rule.ts'
import { cryptoRules } from './rules/crypto.ts'
import { injectionRules } from './rules/injection.ts'
import { secretRules } from './rules/secrets.ts'
import { webRules } from './rules/web.ts'
import { maskTexts, nameFormat } from './secret-texts.ts'
import { Taint } from './taint.ts'

/** Parses a text; `undefined`: it does not parse. */
export type Parse = (path: string, text: string) => Node | undefined

const RULES: readonly Rule[] = [...injectionRules, ...cryptoRules, ...secretRules, ...webRules]
const MAX_DEPTH = 400
const EXCERPT = 120

/** Loads the parser: only those who scan pay for it. */
export async function loadParser(): Promise<Parse> {
  const { parseSync } = await import('oxc-parser')
  return (path, text) => {
    const { program, errors } = parseSync(path, text)
    const root: unknown = program
    return errors.length === 0 && isNode(root) ? root : undefined
  }
}

/** Finds what the rules know in one file. `undefined`: the text does not parse, or is nested too deeply. */
export function scanText(
  parse: Parse,
  path: string,
  text: string,
  place: (line: number) => string = (line) => `${path}:${line}`,
): readonly SourceHit[] | undefined {
  try {
    const program = parse(path, text)
    return program === undefined ? undefined : scanProgram(program, path, text, place)
  } catch (error) {
    if (error instanceof RangeError) return undefined
    throw error
  }
}

function scanProgram(
  program: Node,
  path: string,
  text: string,
  place: (line: number) => string,
): readonly SourceHit[] {
  const hits = new Map<string, SourceHit>()
  const taint = new Taint()
  const textAt = (node: Node | undefined): string =>
    node === undefined ? '' : text.slice(node.start, node.end)
  const add = ({ rule, certainty, at, isSecret = false }: Found, node: Node): void => {
    const { start, end } = at ?? node
    const line = lineAt(text, start)
    const code = text.slice(start, end)
    const isHidden = isSecret || nameFormat(code) !== undefined
    const excerpt = isHidden ? '(a value that is not shown)' : shorten(maskTexts(code))
    const hit = { rule, certainty, place: place(line), file: path, excerpt }
    hits.set(
      `${rule}:${line}`,
      hits.get(`${rule}:${line}`)?.certainty === 'sure' ? hits.get(`${rule}:${line}`)! : hit,
    )
  }
  const visit = (node: Node, ancestors: Node[]): void => {
    if (ancestors.length > MAX_DEPTH) return
    const entersFunction = isFunction(node)
    if (entersFunction) taint.enter(node, ancestors.at(-1))
    const call = callOf(node)
    for (const rule of RULES) {
      const found = rule({ node, ancestors, taint, text: textAt, file: text, call })
      for (const each of Array.isArray(found)
        ? (found as Found[])
        : found === undefined
          ? []
          : [found as Found]) {
        add(each, node)
      }
    }
    if (node.type === 'ForOfStatement' || node.type === 'ForInStatement') taint.learn(node)
    ancestors.push(node)
    for (const child of childrenOf(node)) visit(child, ancestors)
    ancestors.pop()
    taint.learn(node)
    if (entersFunction) taint.leave()
  }
  visit(program, [])
  return [...hits.values()]
}

/** Scans the text of a function, whatever form it was written in. */
export function scanFunction(parse: Parse, name: string, text: string): readonly SourceHit[] {
  if (text === '' || text.length > 200_000 || text.includes('[native code]')) return []
  for (const form of [`(${text})`, `({${text}})`, `(class {${text}})`]) {
    const hits = scanText(parse, 'handler.js', form, () => name)
    if (hits !== undefined) return hits.map((hit) => ({ ...hit, file: name }))
  }
  return []
}

function lineAt(text: string, offset: number): number {
  let line = 1
  for (let at = text.indexOf('\n'); at !== -1 && at < offset; at = text.indexOf('\n', at + 1))
    line++
  return line
}

function shorten(text: string): string {
  const line = text.replaceAll(/\s+/g, ' ').trim()
  return line.length <= EXCERPT ? line : `${line.slice(0, EXCERPT)}…`
}
