/** The authenticated caller: one shape for every login, at `request.principal`. */
import type { FastifyInstance, FastifyRequest } from 'fastify'
import { PARAPET_KIT_INVALID_PRINCIPAL, PARAPET_KIT_PRINCIPAL_TIMEOUT } from '../errors.ts'
import { withDeadline } from '../time/deadline.ts'

/** An authenticated caller: a person or a machine. Frozen. */
export interface Principal {
  /** Stable and unique; never an e-mail address, which may be reassigned. */
  readonly id: string
  /** Role names, one per element; a string of several names is refused, not split. */
  readonly roles: readonly string[]
  /** Permissions granted in addition to the roles. */
  readonly permissions?: readonly string[]
  /**
   * What the credential may do at most, for instance an API key or a token of another client. A
   * ceiling, never a grant: an action needs a role or permission and a scope. @default no ceiling
   */
  readonly scopes?: readonly string[]
  readonly tenantId?: string
  readonly sessionId?: string
  /** The operator who acts as this caller, if it is not the caller. @see RFC 8693, section 4.1 */
  readonly actorId?: string
  /** When the caller authenticated, in milliseconds since the Unix epoch. */
  readonly authenticatedAt?: number
  /** Authentication methods. @see RFC 8176 */
  readonly amr?: readonly string[]
}

declare module 'fastify' {
  interface FastifyRequest {
    /** The authenticated caller; `null` is anonymous. */
    principal: Principal | null
  }
}

/** How long an asynchronous mapping may take. */
const MAPPING_DEADLINE_MS = 5000

const TEXTS = ['id', 'tenantId', 'sessionId', 'actorId'] as const
const LISTS = ['roles', 'permissions', 'scopes', 'amr'] as const

/** Names of other standards for a limit: to drop them would lift it. @see RFC 6749, section 3.3 */
const MISNAMED = [
  ['scope', 'scopes'],
  ['tenant', 'tenantId'],
  ['tenant_id', 'tenantId'],
] as const

/** Principals that {@link parsePrincipal} has made. */
const parsed = new WeakSet<object>()

/**
 * Checks what a login returned and makes a frozen copy with only the known members.
 *
 * @returns `value` itself, if it is such a copy.
 * @throws PARAPET_KIT_INVALID_PRINCIPAL an empty id, roles that are no array of names, a wrong type, text
 *   with control characters, or a limit under another name (`scope`).
 */
export function parsePrincipal(value: unknown): Principal {
  if (typeof value !== 'object' || value === null) refuse('must be an object')
  if (parsed.has(value)) return value as Principal
  // Getters of a class are read, members of a polluted Object.prototype are not.
  const inherited = (key: string) => key in Object.prototype && !Object.hasOwn(value, key)
  const source = (key: string): unknown =>
    inherited(key) ? undefined : (value as Record<string, unknown>)[key]
  const principal: Record<string, unknown> = {}
  for (const key of TEXTS) {
    const text = source(key)
    if (text === undefined && key !== 'id') continue
    if (!isName(text)) refuse(`"${key}" must be a non-empty string without control characters`)
    principal[key] = text
  }
  for (const key of LISTS) {
    const list = source(key)
    if (list === undefined && key !== 'roles') continue
    // Array.from fills the holes of a sparse array.
    const names = Array.isArray(list) ? Array.from<unknown>(list) : [undefined]
    if (!names.every(isName)) refuse(`"${key}" must be an array of non-empty strings`)
    principal[key] = Object.freeze(names)
  }
  if (Object.hasOwn(value, 'scopes') && source('scopes') === undefined) {
    refuse('"scopes" is undefined; leave it out where the credential has no limit, or write []')
  }
  for (const [wrong, right] of MISNAMED) {
    if (source(wrong) !== undefined && source(right) === undefined) {
      refuse(`"${wrong}" is unknown; did you mean "${right}"?`)
    }
  }
  const authenticatedAt = source('authenticatedAt')
  if (authenticatedAt !== undefined) {
    if (!Number.isSafeInteger(authenticatedAt)) {
      refuse('"authenticatedAt" must be an integer, in milliseconds')
    }
    principal['authenticatedAt'] = authenticatedAt
  }
  const frozen = Object.freeze(principal) as unknown as Principal
  parsed.add(frozen)
  return frozen
}

/** Other text breaks databases and digests later. */
function isName(text: unknown): text is string {
  return (
    typeof text === 'string' && text.trim() !== '' && text.isWellFormed() && !CONTROL.test(text)
  )
}

// eslint-disable-next-line no-control-regex -- it is what the expression is for
const CONTROL = /[\0-\x1f\x7f]/

function refuse(problem: string): never {
  throw new PARAPET_KIT_INVALID_PRINCIPAL(problem)
}

/**
 * Maps a request to its principal, for apps with a login of their own; `null` is anonymous. An
 * asynchronous mapping runs in the first hook of a plugin that takes one.
 */
export type PrincipalMapping = (
  request: FastifyRequest,
) => Principal | null | Promise<Principal | null>

/** Reads the principal of a request; `null` is anonymous. */
export interface PrincipalReader {
  /** @throws PARAPET_KIT_INVALID_PRINCIPAL the mapping is asynchronous, and `load` has not run. */
  (request: FastifyRequest): Principal | null
  /**
   * Runs the mapping where it has to run.
   *
   * @returns a promise where the mapping is asynchronous: await it before reading.
   * @throws PARAPET_KIT_INVALID_PRINCIPAL the mapping returned something else.
   * @throws PARAPET_KIT_PRINCIPAL_TIMEOUT the mapping did not answer within 5 s.
   */
  load(request: FastifyRequest): Promise<void> | undefined
}

/**
 * Adds `request.principal` to the app; further calls reuse it.
 *
 * @param mapping the option `principal` of a plugin, for apps whose login is not `sessions`. It runs
 *   when a plugin first reads the principal and finds none, so the login may happen in any earlier hook.
 * @returns a reader: `request.principal`, or the result of the mapping, checked and kept on the request.
 * @throws PARAPET_KIT_INVALID_PRINCIPAL from the reader, when the login or the mapping gave something else.
 */
export function usePrincipal(app: FastifyInstance, mapping?: PrincipalMapping): PrincipalReader {
  if (!app.hasRequestDecorator('principal')) app.decorateRequest('principal', null)
  if (mapping === undefined) {
    return Object.assign((request: FastifyRequest) => readKnown(request), { load: () => undefined })
  }
  /** Requests for which an asynchronous mapping has run: it runs once, also where it found nobody. */
  const loaded = new WeakSet<FastifyRequest>()
  const load = (request: FastifyRequest): Promise<void> | undefined => {
    if (request.principal || loaded.has(request)) return undefined
    const found = mapping(request)
    if (!(found instanceof Promise)) {
      keep(request, found)
      return undefined
    }
    const late = () => new PARAPET_KIT_PRINCIPAL_TIMEOUT(MAPPING_DEADLINE_MS)
    return withDeadline(found, MAPPING_DEADLINE_MS, late).then((each) => {
      loaded.add(request)
      return keep(request, each)
    })
  }
  const read = (request: FastifyRequest): Principal | null => {
    const pending = (request.principal ?? null) === null ? load(request) : undefined
    if (pending === undefined) return readKnown(request)
    pending.catch(() => {})
    return refuse('the mapping is asynchronous, and the principal is read before its promise')
  }
  return Object.assign(read, { load })
}

function keep(request: FastifyRequest, found: unknown): void {
  if (found !== null) request.principal = parsePrincipal(found)
}

/**
 * A context that was created before the decorator has no such member: the request is anonymous. What a
 * login has set without kit is checked once, and replaced by the frozen copy.
 */
function readKnown(request: FastifyRequest): Principal | null {
  // Typed by the declaration above; what it really is depends on the login.
  const { principal } = request
  if (principal === null || principal === undefined) return null
  return parsed.has(principal) ? principal : (request.principal = parsePrincipal(principal))
}
