/** AuthZEN 1.0 without HTTP: reads evaluations and maps them to permissions. */
import type { Principal } from '@parapet/kit'
import type { Static } from '@sinclair/typebox'
import { Value } from '@sinclair/typebox/value'
import { readMember } from '../conditions/attributes.ts'
import { PARAPET_RBAC_MALFORMED_EVALUATION } from '../errors.ts'
import { EvaluationRequest, EvaluationsRequest } from './schemas.ts'

/** The party whose access is evaluated. @see AuthZEN Authorization API 1.0, section 5.1 */
export type AuthzenSubject = AuthzenEvaluation['subject']

/** The resource to access. @see AuthZEN Authorization API 1.0, section 5.2 */
export type AuthzenResource = AuthzenEvaluation['resource']

/** One evaluation. @see AuthZEN Authorization API 1.0, section 6.1 */
export type AuthzenEvaluation = Static<typeof EvaluationRequest>

/** Returns the principal of a subject; `null` if there is none. */
export type SubjectResolver = (
  subject: AuthzenSubject,
) => Principal | null | Promise<Principal | null>

/** Loads the attributes of a resource. */
export type ResourceLoader = (resource: AuthzenResource) => unknown

/** When a batch ends early. @see AuthZEN Authorization API 1.0, section 7.1.2.1 */
export type Semantic = 'execute_all' | 'deny_on_first_deny' | 'permit_on_first_permit'

/** A batch, with common members filled in. An invalid evaluation is `null`. */
export interface Batch {
  readonly semantic: Semantic
  readonly evaluations: readonly (AuthzenEvaluation | null)[]
}

/** Reads one evaluation. @returns a string that says what is wrong if it is invalid. */
export function readEvaluation(value: unknown): AuthzenEvaluation | string {
  if (Value.Check(EvaluationRequest, value)) return value
  const fault = Value.Errors(EvaluationRequest, value).First()!
  return describeFault(fault)
}

/**
 * Reads a batch.
 *
 * @returns `null` if it has no evaluations: the body itself is then one evaluation.
 * @throws PARAPET_RBAC_MALFORMED_EVALUATION
 */
export function readBatch(value: unknown, maxEvaluations: number): Batch | null {
  if (!Value.Check(EvaluationsRequest, value)) {
    const fault = Value.Errors(EvaluationsRequest, value).First()!
    throw new PARAPET_RBAC_MALFORMED_EVALUATION(describeFault(fault))
  }
  const { evaluations: list = [], options } = value
  if (list.length === 0) return null
  if (list.length > maxEvaluations) {
    throw new PARAPET_RBAC_MALFORMED_EVALUATION(
      `"evaluations" must have at most ${maxEvaluations} entries, got ${list.length}`,
    )
  }
  const shared = pick(value)
  const evaluations = list.map((entry) => {
    const evaluation = readEvaluation(isObject(entry) ? { ...shared, ...pick(entry) } : entry)
    return typeof evaluation === 'string' ? null : evaluation
  })
  return { semantic: options?.evaluations_semantic ?? 'execute_all', evaluations }
}

/** Whether a batch ends after this decision. */
export function endsBatch(semantic: Semantic, decision: boolean): boolean {
  return semantic === (decision ? 'permit_on_first_permit' : 'deny_on_first_deny')
}

/** Returns the declared permission: `todo:update` for the type `todo` and the action `update`, or `update`. */
export function permissionFor(
  { action, resource }: AuthzenEvaluation,
  isDeclared: (permission: string) => boolean,
): string | undefined {
  return [`${resource.type}:${action.name}`, action.name].find(isDeclared)
}

/** Returns the attributes of a resource: its properties and its id, which no property can override. */
export function attributesOf({ id, properties }: AuthzenResource): object {
  return Object.assign(Object.create(null) as object, properties, { id })
}

/** Returns `ip` from the context. The address of the connection is that of the calling service. */
export function ipOf(context: Readonly<Record<string, unknown>> | undefined): string | undefined {
  const ip = readMember(context, 'ip')
  return typeof ip === 'string' ? ip : undefined
}

/** Normalizes parameters, so that `/todos/{todoId}` (OpenAPI) equals `/todos/:todoId` (Fastify). */
export function routePattern(id: string): string {
  return id.replaceAll(/\{[^{}/]*\}|:[^/]+/g, '{}')
}

function describeFault({ path, message }: { path: string; message: string }): string {
  return `${path === '' ? 'the body' : `"${path}"`}: ${message}`
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
