/** What a decision looks at, and how conditions read it. */
import type { Principal } from '@parapet/kit'
import { readerOf, readMember, type AttributeSchema, type Normal } from './attributes.ts'
import type { Reference } from './condition-nodes.ts'

/** The surroundings of a decision. */
export interface Environment {
  /** Milliseconds since the Unix epoch. */
  readonly time: number
  /** The peer, as Fastify's `trustProxy` has it. */
  readonly ip?: string | undefined
  /** The attributes that the policy declares beside these two. */
  readonly attributes?: Readonly<Record<string, unknown>> | undefined
}

/** Everything a condition can see. */
export interface DecisionContext {
  readonly principal: Principal
  /** The attributes of the subject that the policy declares beside those of a principal. */
  readonly subject: Readonly<Record<string, unknown>> | undefined
  readonly resource: unknown
  readonly environment: Environment
  /** Facts that were found out for this decision. */
  readonly facts: ReadonlyMap<string, unknown> | undefined
}

/** What a condition knows of every subject. */
export const subjectAttributes = {
  id: 'string',
  tenantId: 'string',
  sessionId: 'string',
  authenticatedAt: 'time',
  roles: 'string[]',
  amr: 'string[]',
} as const satisfies AttributeSchema

/** What a condition knows of every environment. */
export const environmentAttributes = {
  time: 'time',
  ip: 'string',
} as const satisfies AttributeSchema

/** Compiles the reading of one attribute; `undefined` is missing, or of another type. */
export function compileReader(ref: Reference): (context: DecisionContext) => Normal | undefined {
  const { root, name, type } = ref
  const read = compileRawReader(root, name)
  // The commonest type, spared a call.
  if (type === 'string') {
    return (context) => {
      const value = read(context)
      return typeof value === 'string' ? value : undefined
    }
  }
  const convert = readerOf(type)
  return (context) => convert(read(context))
}

function compileRawReader(
  root: Reference['root'],
  name: string,
): (context: DecisionContext) => unknown {
  if (root === 'resource') return (context) => readMember(context.resource, name)
  if (root === 'fact') return (context) => context.facts?.get(name)
  if (root === 'environment') {
    if (name === 'time') return (context) => context.environment.time
    if (name === 'ip') return (context) => context.environment.ip
    return (context) => readMember(context.environment.attributes, name)
  }
  if (name === 'id') return (context) => context.principal.id
  return Object.hasOwn(subjectAttributes, name)
    ? (context) => readMember(context.principal, name)
    : (context) => readMember(context.subject, name)
}
