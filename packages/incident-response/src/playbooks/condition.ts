/**
 * Conditions of playbooks: comparisons of names and values, joined by AND, OR and NOT. A subset of STIX patterning,
 * as CACAO asks for. @see CACAO 2.0, section 4.9
 */
import type { Scalar } from './playbook.ts'

/** A compiled condition. */
export interface Condition {
  /** The names that it reads. */
  readonly names: readonly string[]
  /** Unknown names make every comparison false. */
  readonly holds: (facts: Readonly<Record<string, Scalar>>) => boolean
}

/** The condition is malformed; the message says where. */
export class ConditionError extends Error {
  override readonly name = 'ConditionError'
}

type Test = Condition['holds']
interface Token {
  readonly kind: 'name' | 'value' | 'mark'
  readonly text: string
  readonly value?: Scalar
  readonly at: number
}

const TOKEN =
  /\s*(?:(?<text>'(?:[^'\\]|\\.)*')|(?<number>-?\d{1,15}(?:\.\d{1,6})?)(?![\w.])|(?<variable>__[a-z][a-z0-9_]*?__:value)|(?<word>[A-Za-z][A-Za-z0-9_]*)|(?<mark>!=|>=|<=|[=<>(),]))/y
const COMPARISONS = ['=', '!=', '>', '>=', '<', '<='] as const
type Comparison = (typeof COMPARISONS)[number]
const SEVERITIES = ['low', 'medium', 'high', 'critical']
const MAX_DEPTH = 20
const MAX_CHARACTERS = 500

/** Compiles a condition. @throws ConditionError */
export function compileCondition(source: string): Condition {
  if (source.length > MAX_CHARACTERS) fail(`has more than ${MAX_CHARACTERS} characters`)
  const parser = new Parser(tokensOf(source))
  const holds = parser.readAll()
  return { names: [...parser.names], holds }
}

function tokensOf(source: string): Token[] {
  const tokens: Token[] = []
  const end = source.trimEnd().length
  TOKEN.lastIndex = 0
  while (TOKEN.lastIndex < end) {
    const start = TOKEN.lastIndex
    const groups = TOKEN.exec(source)?.groups
    if (groups === undefined) fail(`has an unexpected character at ${start + 1}`)
    tokens.push(tokenOf(groups, start + 1))
  }
  return tokens
}

function tokenOf(groups: Readonly<Record<string, string | undefined>>, at: number): Token {
  const { text, number, variable, word, mark } = groups
  if (text !== undefined) {
    const value = text.slice(1, -1).replaceAll(/\\(.)/g, '$1')
    return { kind: 'value', text, value, at }
  }
  if (number !== undefined) return { kind: 'value', text: number, value: Number(number), at }
  if (variable !== undefined) {
    return { kind: 'name', text: variable.slice(2, -'__:value'.length), at }
  }
  if (word === undefined) return { kind: 'mark', text: mark!, at }
  if (word === 'true' || word === 'false') {
    return { kind: 'value', text: word, value: word === 'true', at }
  }
  if (/^(?:AND|OR|NOT|IN)$/.test(word)) return { kind: 'mark', text: word, at }
  return { kind: 'name', text: word, at }
}

/** OR binds least, then AND, then NOT. */
class Parser {
  readonly names = new Set<string>()
  readonly #tokens: readonly Token[]
  #next = 0
  #depth = 0

  constructor(tokens: readonly Token[]) {
    this.#tokens = tokens
  }

  readAll(): Test {
    const test = this.#readOr()
    const rest = this.#tokens[this.#next]
    if (rest !== undefined) fail(`has an unexpected "${rest.text}" at ${rest.at}`)
    return test
  }

  #readOr(): Test {
    const tests = [this.#readAnd()]
    while (this.#take('OR')) tests.push(this.#readAnd())
    return (facts) => tests.some((test) => test(facts))
  }

  #readAnd(): Test {
    const tests = [this.#readNot()]
    while (this.#take('AND')) tests.push(this.#readNot())
    return (facts) => tests.every((test) => test(facts))
  }

  #readNot(): Test {
    if (++this.#depth > MAX_DEPTH) fail('is nested too deeply')
    try {
      if (this.#take('NOT')) {
        const test = this.#readNot()
        return (facts) => !test(facts)
      }
      if (!this.#take('(')) return this.#readComparison()
      const test = this.#readOr()
      this.#require(')')
      return test
    } finally {
      this.#depth--
    }
  }

  #readComparison(): Test {
    const name = this.#tokens[this.#next++]
    if (name?.kind !== 'name') fail(`needs a name ${placeOf(name)}`)
    this.names.add(name.text)
    if (this.#take('IN')) {
      const values = this.#readList()
      return (facts) => values.includes(facts[name.text]!)
    }
    const mark = this.#tokens[this.#next++]
    const comparison = COMPARISONS.find((each) => each === mark?.text)
    if (comparison === undefined) fail(`needs a comparison ${placeOf(mark)}`)
    const value = this.#readValue()
    return (facts) => compare(facts[name.text], comparison, value)
  }

  #readList(): Scalar[] {
    this.#require('(')
    const values = [this.#readValue()]
    while (this.#take(',')) values.push(this.#readValue())
    this.#require(')')
    return values
  }

  #readValue(): Scalar {
    const token = this.#tokens[this.#next++]
    if (token?.value === undefined) fail(`needs a value ${placeOf(token)}`)
    return token.value
  }

  #take(text: string): boolean {
    const token = this.#tokens[this.#next]
    if (token?.kind !== 'mark' || token.text !== text) return false
    this.#next++
    return true
  }

  #require(text: string): void {
    if (!this.#take(text)) fail(`needs "${text}" ${placeOf(this.#tokens[this.#next])}`)
  }
}

/** Severities are compared by rank, other texts only for equality. */
function compare(fact: Scalar | undefined, comparison: Comparison, value: Scalar): boolean {
  if (fact === undefined) return false
  if (comparison === '=') return fact === value
  if (comparison === '!=') return fact !== value
  const [left, right] = [orderOf(fact), orderOf(value)]
  if (left === undefined || right === undefined) return false
  if (comparison === '>') return left > right
  if (comparison === '<') return left < right
  return comparison === '>=' ? left >= right : left <= right
}

function orderOf(value: Scalar): number | undefined {
  if (typeof value === 'number') return value
  const rank = SEVERITIES.indexOf(String(value))
  return rank === -1 ? undefined : rank
}

function placeOf(token: Token | undefined): string {
  return token === undefined ? 'at its end' : `instead of "${token.text}" at ${token.at}`
}

function fail(problem: string): never {
  throw new ConditionError(problem)
}

/** Rewrites the names of a condition, for instance to CACAO's variables; texts are left as they are. */
export function renameNames(source: string, rename: (name: string) => string): string {
  let result = ''
  let end = 0
  TOKEN.lastIndex = 0
  for (let match = TOKEN.exec(source); match !== null; match = TOKEN.exec(source)) {
    const token = tokenOf(match.groups!, match.index)
    const raw = match.groups!['variable'] ?? match.groups!['word']
    if (token.kind === 'name' && raw !== undefined) {
      const start = match.index + match[0].length - raw.length
      result += source.slice(end, start) + rename(token.text)
      end = match.index + match[0].length
    }
    if (TOKEN.lastIndex >= source.length) break
  }
  return result + source.slice(end)
}
