/** Who is asking: one shape for every login, at `request.principal`. */
import type { FastifyInstance, FastifyRequest } from 'fastify'
import { PARAPET_KIT_INVALID_PRINCIPAL } from './errors.ts'

/** An authenticated caller: a person or a machine. Frozen. */
export interface Principal {
  /** Stable and unique; never an e-mail address that may pass to someone else. */
  readonly id: string
  /** Role names, each its own element; a text of several names is refused, not split. */
  readonly roles: readonly string[]
  /** Permissions granted beside the roles, for instance an API key's scopes. */
  readonly permissions?: readonly string[]
  readonly tenantId?: string
  readonly sessionId?: string
  /** When the caller proved who they are, in milliseconds since the Unix epoch. */
  readonly authenticatedAt?: number
  /** How they proved it. @see RFC 8176 */
  readonly amr?: readonly string[]
}

declare module 'fastify' {
  interface FastifyRequest {
    /** The authenticated caller; `null` is anonymous. */
    principal: Principal | null
  }
}

const TEXTS = ['id', 'tenantId', 'sessionId'] as const
const LISTS = ['roles', 'permissions', 'amr'] as const

/**
 * Checks what a login handed over and returns a frozen copy that holds the known members only.
 *
 * @throws PARAPET_KIT_INVALID_PRINCIPAL an empty id, roles that are no list of names, a wrong type.
 */
export function parsePrincipal(value: unknown): Principal {
  if (typeof value !== 'object' || value === null) refuse('it must be an object')
  // Getters of a class count, members of a polluted Object.prototype do not.
  const inherited = (key: string) => key in Object.prototype && !Object.hasOwn(value, key)
  const source = (key: string): unknown =>
    inherited(key) ? undefined : (value as Record<string, unknown>)[key]
  const principal: Record<string, unknown> = {}
  for (const key of TEXTS) {
    const text = source(key)
    if (text === undefined && key !== 'id') continue
    if (typeof text !== 'string' || text === '') refuse(`"${key}" must be a non-empty string`)
    principal[key] = text
  }
  for (const key of LISTS) {
    const list = source(key)
    if (list === undefined && key !== 'roles') continue
    if (!Array.isArray(list) || !list.every((item) => typeof item === 'string' && item !== '')) {
      refuse(`"${key}" must be an array of non-empty strings`)
    }
    principal[key] = Object.freeze([...(list as string[])])
  }
  const authenticatedAt = source('authenticatedAt')
  if (authenticatedAt !== undefined) {
    if (!Number.isSafeInteger(authenticatedAt)) {
      refuse('"authenticatedAt" must be an integer, in milliseconds')
    }
    principal['authenticatedAt'] = authenticatedAt
  }
  return Object.freeze(principal) as unknown as Principal
}

function refuse(problem: string): never {
  throw new PARAPET_KIT_INVALID_PRINCIPAL(problem)
}

/** How an app with a login of its own says who is asking; `null` is anonymous. */
export type PrincipalMapping = (request: FastifyRequest) => Principal | null

/**
 * Puts `request.principal` on the app, once however many plugins ask for it.
 *
 * @param mapping the option `principal` of a plugin, for apps whose login is not `sessions`. It runs
 *   when a plugin first asks and finds nobody, so any hook that ran before may have done the login.
 * @returns how the plugin learns who is asking: `request.principal`, or else what the mapping says,
 *   checked and kept on the request.
 * @throws PARAPET_KIT_INVALID_PRINCIPAL from the reader, when the mapping hands over something else.
 */
export function usePrincipal(
  app: FastifyInstance,
  mapping?: PrincipalMapping,
): (request: FastifyRequest) => Principal | null {
  if (!app.hasRequestDecorator('principal')) app.decorateRequest('principal', null)
  if (mapping === undefined) return known
  return (request) => {
    if (request.principal === null) {
      const found = mapping(request)
      if (found !== null) request.principal = parsePrincipal(found)
    }
    return known(request)
  }
}

/** A context that is older than the decorator has no member at all, and no login: nobody is asking there. */
function known(request: FastifyRequest): Principal | null {
  return request.principal ?? null
}
