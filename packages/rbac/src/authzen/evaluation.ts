/** AuthZEN 1.0 without HTTP: reads evaluations and maps them to permissions. */
import type { Principal } from '@parapet/kit'
import { readMember } from '../attributes/attributes.ts'
import { PARAPET_RBAC_MALFORMED_EVALUATION } from '../errors.ts'

type Properties = Readonly<Record<string, unknown>>

interface Entity {
  readonly type: string
  readonly id: string
  readonly properties?: Properties
}

/** One evaluation. @see AuthZEN Authorization API 1.0, section 6.1 */
export interface AuthzenEvaluation {
  readonly subject: Entity
  readonly action: { readonly name: string; readonly properties?: Properties }
  readonly resource: Entity
  readonly context?: Properties
}

/** The party whose access is evaluated. @see AuthZEN Authorization API 1.0, section 5.1 */
export type AuthzenSubject = AuthzenEvaluation['subject']

/** The resource to access. @see AuthZEN Authorization API 1.0, section 5.2 */
export type AuthzenResource = AuthzenEvaluation['resource']

/** Returns the principal of a subject; `null` if there is none. */
export type SubjectResolver = (
  subject: AuthzenSubject,
) => Principal | null | Promise<Principal | null>

/** Loads the attributes that the policy declares under `subject`. */
export type AttributeLoader = (
  principal: Principal,
  subject: AuthzenSubject,
) => Properties | undefined | Promise<Properties | undefined>

/** Loads the attributes of a resource. */
export type ResourceLoader = (resource: AuthzenResource) => unknown

/** When a batch ends early. @see AuthZEN Authorization API 1.0, section 7.1.2.1 */
export type Semantic = 'execute_all' | 'deny_on_first_deny' | 'permit_on_first_permit'

/** A batch, with common members filled in. An invalid evaluation is `null`. */
export interface Batch {
  readonly semantic: Semantic
  readonly evaluations: readonly (AuthzenEvaluation | null)[]
}

/** Reads one evaluation. Unknown members are ignored. @returns what is wrong if it is invalid. */
export function readEvaluation(value: unknown): AuthzenEvaluation | string {
  if (!isObject(value)) return 'the body: must be an object'
  const fault =
    faultOf(value, 'subject', ['type', 'id']) ??
    faultOf(value, 'action', ['name']) ??
    faultOf(value, 'resource', ['type', 'id']) ??
    (value['context'] === undefined || isObject(value['context'])
      ? undefined
      : '"/context": must be an object')
  return fault ?? (value as unknown as AuthzenEvaluation)
}

function faultOf(value: Properties, name: string, texts: readonly string[]): string | undefined {
  const entity = readMember(value, name)
  if (!isObject(entity)) return `"/${name}": must be an object`
  const wrong = texts.find((each) => typeof readMember(entity, each) !== 'string')
  if (wrong !== undefined) return `"/${name}/${wrong}": must be a string`
  const properties = readMember(entity, 'properties')
  return properties === undefined || isObject(properties)
    ? undefined
    : `"/${name}/properties": must be an object`
}

const SEMANTICS: readonly unknown[] = [
  'execute_all',
  'deny_on_first_deny',
  'permit_on_first_permit',
] satisfies Semantic[]

/**
 * Reads a batch.
 *
 * @returns `null` if it has no evaluations: the body itself is then one evaluation.
 * @throws PARAPET_RBAC_MALFORMED_EVALUATION
 */
export function readBatch(value: unknown, maxEvaluations: number): Batch | null {
  if (!isObject(value)) throw new PARAPET_RBAC_MALFORMED_EVALUATION('the body: must be an object')
  const { evaluations: list = [] } = value
  if (!Array.isArray(list)) {
    throw new PARAPET_RBAC_MALFORMED_EVALUATION('"/evaluations": must be an array')
  }
  const semantic = readSemantic(value['options'])
  if (list.length === 0) return null
  if (list.length > maxEvaluations) {
    throw new PARAPET_RBAC_MALFORMED_EVALUATION(
      `"evaluations" must have at most ${maxEvaluations} entries, got ${list.length}`,
    )
  }
  const shared = pick(value)
  const evaluations = list.map((entry: unknown) => {
    const evaluation = readEvaluation(isObject(entry) ? { ...shared, ...pick(entry) } : entry)
    return typeof evaluation === 'string' ? null : evaluation
  })
  return { semantic, evaluations }
}

function readSemantic(options: unknown): Semantic {
  if (options === undefined) return 'execute_all'
  const semantic = isObject(options) ? (options['evaluations_semantic'] ?? 'execute_all') : null
  if (SEMANTICS.includes(semantic)) return semantic as Semantic
  throw new PARAPET_RBAC_MALFORMED_EVALUATION(
    `"/options/evaluations_semantic": must be one of ${SEMANTICS.join(', ')}`,
  )
}

/** Whether a batch ends after this decision. */
export function endsBatch(semantic: Semantic, decision: boolean): boolean {
  return semantic === (decision ? 'permit_on_first_permit' : 'deny_on_first_deny')
}

/**
 * Returns the declared permission: `todo:update` for the type `todo` and the action `update`, or
 * `update`. An action that names another type than the resource has none.
 */
export function permissionFor(
  { action, resource }: AuthzenEvaluation,
  isDeclared: (permission: string) => boolean,
): string | undefined {
  const full = `${resource.type}:${action.name}`
  if (isDeclared(full)) return full
  const isOtherType = action.name.includes(':') && !action.name.startsWith(`${resource.type}:`)
  return !isOtherType && isDeclared(action.name) ? action.name : undefined
}

/** Returns the attributes of a resource: trusted properties, and its id, which none can override. */
export function attributesOf(
  { id, properties }: AuthzenResource,
  trusted: readonly string[],
): object {
  return Object.assign(
    Object.create(null) as object,
    Object.fromEntries(statedOf(properties, trusted)),
    { id },
  )
}

/** Returns the properties that the caller states and may state. */
export function statedOf(
  properties: Properties | undefined,
  trusted: readonly string[],
): (readonly [string, unknown])[] {
  return trusted.flatMap((name) => {
    const value = readMember(properties, name)
    return value === undefined ? [] : [[name, value] as const]
  })
}

/** Returns `ip` from the context. The address of the connection is that of the calling service. */
export function ipOf(context: Properties | undefined): string | undefined {
  const ip = readMember(context, 'ip')
  return typeof ip === 'string' ? ip : undefined
}

/** Normalizes parameters, so that `/todos/{todoId}` (OpenAPI) equals `/todos/:todoId` (Fastify). */
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

/** Whether a value is a JSON object. */
export function isObject(value: unknown): value is Properties {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
