/** A condition whose references and constants have been resolved and typed. */
import type { AttributeType, Normal } from '../attributes/attributes.ts'
import type { RelationPlan } from '../relations/relation-plan.ts'
import type { Comparison } from './condition.ts'

/** The result of a condition. `null` is unknown: an attribute is missing or cannot be read. */
export type Truth = boolean | null

/** Where an attribute comes from. */
export type Root = 'subject' | 'resource' | 'environment' | 'fact'

/** A reference to an attribute, with the type that the policy declares. */
export interface Reference {
  readonly kind: 'ref'
  readonly root: Root
  readonly name: string
  readonly type: AttributeType
  /** Milliseconds to add to a time. */
  readonly plusMs?: number
}

/** A constant in its normal form. */
export interface Literal {
  readonly kind: 'literal'
  readonly value: Normal
  readonly type: AttributeType
}

/** One side of a comparison. */
export type Term = Reference | Literal

/** A resolved condition. `value` occurs in filters, where a part has already been evaluated. */
export type Node =
  | { readonly op: 'and'; readonly of: readonly Node[] }
  | { readonly op: 'or'; readonly of: readonly Node[] }
  | { readonly op: 'not'; readonly of: Node }
  | { readonly op: 'compare'; readonly sign: Sign; readonly left: Term; readonly right: Term }
  | { readonly op: 'in'; readonly left: Term; readonly right: Term }
  | { readonly op: 'sets'; readonly mode: 'any' | 'all'; readonly left: Term; readonly right: Term }
  | { readonly op: 'prefix'; readonly isPath: boolean; readonly left: Term; readonly right: Term }
  | RelatedNode
  | { readonly op: 'exists'; readonly left: Reference }
  | {
      readonly op: 'test'
      readonly left: Term
      /** `null`: the value has the type, but nothing can be read from it. */
      readonly test: (value: Normal) => Truth
      readonly text: string
      /** Values inside and outside, for the analysis of policies. */
      readonly samples: readonly unknown[]
    }
  | { readonly op: 'value'; readonly value: boolean | null }

/** A test of the relation of the principal to an object. */
export interface RelatedNode {
  readonly op: 'related'
  readonly plan: RelationPlan
  /** The id of the object. */
  readonly left: Term
}

/** The comparison operators without `in`. */
export type Sign = Exclude<Comparison, 'in'>

/** Returns the names of the facts that a condition reads. */
export function factsOf(node: Node): string[] {
  switch (node.op) {
    case 'and':
    case 'or':
      return node.of.flatMap(factsOf)
    case 'not':
      return factsOf(node.of)
    case 'value':
      return []
    case 'exists':
    case 'test':
    case 'related':
      return nameOf(node.left)
    case 'in':
    case 'sets':
    case 'prefix':
    case 'compare':
      break
  }
  return [...nameOf(node.left), ...nameOf(node.right)]
}

/** Returns the tests of relations in a condition. */
export function relatedNodesOf(node: Node): RelatedNode[] {
  if (node.op === 'related') return [node]
  if (node.op === 'not') return relatedNodesOf(node.of)
  return node.op === 'and' || node.op === 'or' ? node.of.flatMap(relatedNodesOf) : []
}

function nameOf(term: { readonly kind: string; readonly root?: string; readonly name?: string }) {
  return term.root === 'fact' ? [term.name!] : []
}
