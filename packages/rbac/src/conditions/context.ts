/** The input of a decision, and how conditions read attributes from it. */
import type { Principal } from '@parapet/kit'
import {
  isTimeInRange,
  readerOf,
  readMember,
  readPath,
  type AttributeSchema,
  type Normal,
} from '../attributes/attributes.ts'
import type { RelationPlan } from '../relations/relation-plan.ts'
import { readAddress } from './address.ts'
import type { Reference, Truth } from './nodes.ts'

/** The attributes of the environment of a decision. */
export interface Environment {
  /** Milliseconds since the Unix epoch. */
  readonly time: number
  /** The IP address of the client, as determined by Fastify's `trustProxy`. */
  readonly ip?: string | undefined
  /** Further attributes that the policy declares under `environment`. */
  readonly attributes?: Readonly<Record<string, unknown>> | undefined
}

/** Whether the principal has relations to objects, as far as they were looked up. */
export interface RelatedAnswers {
  /** Returns `null` if it is unknown. */
  of(plan: RelationPlan, objectId: string): Truth
  /** Whether the relation to the object was looked up. */
  knows?(plan: RelationPlan, objectId: string): boolean
}

/** Everything that a condition can read. */
export interface DecisionContext {
  readonly principal: Principal
  /** Attributes that the policy declares under `subject`, beside those of the principal. */
  readonly subject: Readonly<Record<string, unknown>> | undefined
  readonly resource: unknown
  readonly environment: Environment
  /** Facts that were looked up for this decision, by name. */
  readonly facts: ReadonlyMap<string, unknown> | undefined
  /** Relations that were looked up for this decision. @default none: they are unknown */
  readonly related?: RelatedAnswers | undefined
}

/** Attributes of the principal that every condition can read as `subject.*`. */
export const subjectAttributes = {
  id: 'string',
  tenantId: 'string',
  sessionId: 'string',
  authenticatedAt: 'time',
  roles: 'string[]',
  amr: 'string[]',
} as const satisfies AttributeSchema

/** Attributes that every condition can read as `environment.*`. `ip` is read in its canonical form. */
export const environmentAttributes = {
  time: 'time',
  ip: 'string',
} as const satisfies AttributeSchema

/** Compiles a reader for one attribute. It yields `undefined` if it is missing or of another type. */
export function compileReader(ref: Reference): (context: DecisionContext) => Normal | undefined {
  const { root, name, type } = ref
  const read = compileRawReader(root, name)
  // Strings are the most common type: this form saves one call.
  if (type === 'string') {
    return (context) => {
      const value = read(context)
      return typeof value === 'string' ? value : undefined
    }
  }
  const convert = readerOf(type)
  const { plusMs } = ref
  if (plusMs === undefined) return (context) => convert(read(context))
  return (context) => {
    const time = convert(read(context))
    const moved = time === undefined ? undefined : (time as number) + plusMs
    return moved !== undefined && isTimeInRange(moved) ? moved : undefined
  }
}

function compileRawReader(
  root: Reference['root'],
  name: string,
): (context: DecisionContext) => unknown {
  if (name.includes('.')) return compilePathReader(root, name.split('.'))
  if (root === 'resource') return (context) => readMember(context.resource, name)
  if (root === 'fact') return (context) => context.facts?.get(name)
  if (root === 'environment') {
    if (name === 'time') return (context) => context.environment.time
    if (name === 'ip') return (context) => readAddress(context.environment.ip)
    return (context) => readMember(context.environment.attributes, name)
  }
  if (name === 'id') return (context) => context.principal.id
  return Object.hasOwn(subjectAttributes, name)
    ? (context) => readMember(context.principal, name)
    : (context) => readMember(context.subject, name)
}

/** The first segment is read as any attribute, and the others from its members. */
function compilePathReader(
  root: Reference['root'],
  [first, ...rest]: readonly string[],
): (context: DecisionContext) => unknown {
  const read = compileRawReader(root, first!)
  return (context) => readPath(read(context), rest)
}
