/** What a rule of the scanner is given and what it returns. */
import type { Call, Node } from './ast.ts'
import type { Taint } from './taint.ts'

/** A node with its surroundings. */
export interface Visit {
  readonly node: Node
  /** Outermost first. */
  readonly ancestors: readonly Node[]
  readonly taint: Taint
  /** The text of a node. */
  readonly text: (node: Node | undefined) => string
  /** The whole file. */
  readonly file: string
  /** Set for calls and `new`. */
  readonly call: Call | undefined
}

/** Something that a rule found. */
export interface Found {
  readonly rule: string
  readonly certainty: 'sure' | 'review'
  /** @default the visited node */
  readonly at?: Node
  /** The value must not be shown. */
  readonly isSecret?: boolean
}

/** Looks at one node. */
export type Rule = (visit: Visit) => Found | readonly Found[] | undefined

/** A finding that is certain. */
export function sure(rule: string, at?: Node): Found {
  return at === undefined ? { rule, certainty: 'sure' } : { rule, certainty: 'sure', at }
}

/** A finding that a person must look at. */
export function review(rule: string, at?: Node): Found {
  return at === undefined ? { rule, certainty: 'review' } : { rule, certainty: 'review', at }
}
