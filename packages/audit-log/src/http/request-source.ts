/** Who sent a request, and from where, as a record has it. */
import {
  requestSource,
  type Principal,
  type PrincipalReader,
  type RequestSource,
} from '@parapet/kit'
import type { FastifyRequest } from 'fastify'
import type { AuditFields, Markable } from '../record/fields.ts'
import { readText } from '../record/texts.ts'
import type { CompiledRule } from './route-rule.ts'

/** Reads requests by functions of the app, which may throw: the record must still be written. */
export class RequestReader {
  readonly #principalOf: PrincipalReader
  /** Whether a missing principal needs no warning any more. */
  #hasWarned: boolean

  /** @param hasMapping whether the option `principal` is set. */
  constructor(principalOf: PrincipalReader, hasMapping: boolean) {
    this.#principalOf = principalOf
    this.#hasWarned = hasMapping
  }

  /** Runs an asynchronous mapping of the principal; its fault shows when the principal is read. */
  load(request: FastifyRequest): Promise<void> | undefined {
    try {
      return this.#principalOf.load(request)?.catch(() => {})
    } catch {
      return undefined
    }
  }

  /** Why the principal cannot be read. */
  faultOf(request: FastifyRequest): Error | undefined {
    return this.#principal(request).fault
  }

  /** Principal, actor, session, tenant, address and route of a request. */
  readonly sourceOf = (request: FastifyRequest): AuditFields => {
    const { principal, fault } = this.#principal(request)
    if (principal === null && !this.#hasWarned) this.#warn(request)
    const { principalId, sessionId, actorId, ...source } = readSource(request, principal)
    return {
      ...source,
      ...(fault === undefined ? undefined : { errorCode: codeOf(fault) }),
      ...(principalId === undefined ? undefined : { principal: principalId }),
      ...(sessionId === undefined ? undefined : { session: sessionId }),
      ...(actorId === undefined ? undefined : { actor: actorId }),
      ...(principal?.tenantId === undefined ? undefined : { tenant: principal.tenantId }),
    }
  }

  /** A login that sets another decorator makes all records anonymous. */
  #warn(request: FastifyRequest): void {
    const { user } = request as { readonly user?: unknown }
    if (user === undefined || user === null) return
    this.#hasWarned = true
    request.log.warn(
      'audit-log records this request without a principal, although request.user is set; set the option "principal" of audit-log.',
    )
  }

  #principal(request: FastifyRequest): {
    readonly principal: Principal | null
    readonly fault?: Error
  } {
    try {
      return { principal: this.#principalOf(request) }
    } catch (error) {
      return { principal: null, fault: error as Error }
    }
  }
}

/** A function as `trustProxy` may throw when the address is read. */
function readSource(request: FastifyRequest, principal: Principal | null): Partial<RequestSource> {
  try {
    return requestSource(request, principal)
  } catch {
    const { url } = request.routeOptions
    return {
      requestId: request.id,
      ...(url === undefined ? undefined : { route: `${request.method} ${url}` }),
      ...(principal === null ? undefined : { principalId: principal.id }),
    }
  }
}

/** The resource id of a request; `undefined` also if the app's function throws, for example without a body. */
export function resourceIdOf(request: FastifyRequest, rule: CompiledRule): Markable | undefined {
  try {
    return readText('resourceId', rule.resourceId(request))
  } catch {
    return undefined
  }
}

/** The code of an error for a record. */
export function codeOf(error: Error & { readonly code?: unknown }): string {
  if (typeof error?.code === 'string') return error.code
  const name: unknown = error?.name
  return typeof name === 'string' || typeof name === 'number' ? String(name) : 'UNKNOWN'
}
