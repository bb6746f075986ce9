/** AuthZEN 1.0 without HTTP: how requests are read, completed and mapped to decisions. */
import type { Principal } from '@parapet/kit'
import type { Static } from '@sinclair/typebox'
import { Value } from '@sinclair/typebox/value'
import { readMember } from './attributes.ts'
import { EvaluationRequest, EvaluationsRequest } from './authzen-schemas.ts'
import { PARAPET_RBAC_MALFORMED_EVALUATION } from './errors.ts'

/** Who is asked about. @see AuthZEN Authorization API 1.0, section 5.1 */
export type AuthzenSubject = AuthzenEvaluation['subject']

/** What is to be accessed. @see AuthZEN Authorization API 1.0, section 5.2 */
export type AuthzenResource = AuthzenEvaluation['resource']

/** One question. @see AuthZEN Authorization API 1.0, section 6.1 */
export type AuthzenEvaluation = Static<typeof EvaluationRequest>

/** Says who stands behind a subject. */
export type SubjectResolver = (
  subject: AuthzenSubject,
) => Principal | null | Promise<Principal | null>

/** Finds the attributes of a resource. */
export type ResourceLoader = (resource: AuthzenResource) => unknown

/** How a batch goes on after each decision. @see AuthZEN Authorization API 1.0, section 7.1.2.1 */
export type Semantic = 'execute_all' | 'deny_on_first_deny' | 'permit_on_first_permit'

/** A batch, each member completed with what all of them share; `null` where something is missing. */
export interface Batch {
  readonly semantic: Semantic
  readonly evaluations: readonly (AuthzenEvaluation | null)[]
}

/** Reads one question. @returns what is wrong, as a text. */
export function readEvaluation(value: unknown): AuthzenEvaluation | string {
  if (Value.Check(EvaluationRequest, value)) return value
  const fault = Value.Errors(EvaluationRequest, value).First()!
  return `${fault.path === '' ? 'it' : fault.path}: ${fault.message}`
}

/**
 * Reads a batch.
 *
 * @returns `null` when it holds no evaluations, so that it is one question by itself.
 * @throws PARAPET_RBAC_MALFORMED_EVALUATION
 */
export function readBatch(value: unknown, maxEvaluations: number): Batch | null {
  if (!Value.Check(EvaluationsRequest, value)) {
    const fault = Value.Errors(EvaluationsRequest, value).First()!
    throw new PARAPET_RBAC_MALFORMED_EVALUATION(`${fault.path || 'it'}: ${fault.message}`)
  }
  const { evaluations: list = [], options } = value
  if (list.length === 0) return null
  if (list.length > maxEvaluations) {
    throw new PARAPET_RBAC_MALFORMED_EVALUATION(`it holds more than ${maxEvaluations} evaluations`)
  }
  const shared = pick(value)
  const evaluations = list.map((entry) => {
    const evaluation = readEvaluation(isObject(entry) ? { ...shared, ...pick(entry) } : entry)
    return typeof evaluation === 'string' ? null : evaluation
  })
  return { semantic: options?.evaluations_semantic ?? 'execute_all', evaluations }
}

/** Whether a batch ends with this decision. */
export function endsBatch(semantic: Semantic, decision: boolean): boolean {
  return semantic === (decision ? 'permit_on_first_permit' : 'deny_on_first_deny')
}

/** `todo` and `update` are the permission `todo:update`, or `update` where only that is declared. */
export function permissionFor(
  { action, resource }: AuthzenEvaluation,
  isDeclared: (permission: string) => boolean,
): string | undefined {
  return [`${resource.type}:${action.name}`, action.name].find(isDeclared)
}

/** What conditions see of a resource: its properties, and its id, which no property can replace. */
export function attributesOf({ id, properties }: AuthzenResource): object {
  return Object.assign(Object.create(null) as object, properties, { id })
}

/** Reads an `ip` out of the context: that of the peer would be the asking service. */
export function ipOf(context: Readonly<Record<string, unknown>> | undefined): string | undefined {
  const ip = readMember(context, 'ip')
  return typeof ip === 'string' ? ip : undefined
}

/** `/todos/{todoId}`, as OpenAPI writes it, and `/todos/:todoId`, as Fastify does, are one. */
export function routePattern(id: string): string {
  return id.replaceAll(/\{[^{}/]*\}|:[^/]+/g, '{}')
}

function pick(value: object): Record<string, unknown> {
  const keys = ['subject', 'action', 'resource', 'context']
  return Object.fromEntries(
    keys
      .filter((key) => Object.hasOwn(value, key))
      .map((key) => [key, value[key as keyof typeof value]]),
  )
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
