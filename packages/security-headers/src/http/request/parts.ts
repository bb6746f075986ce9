/** What the hooks share. */
import { missedRoute, type Principal, type RouteRules, type SecurityEvents } from '@parapet/kit'
import type { FastifyRequest } from 'fastify'
import type { CompiledCors } from '../../cors/cors.ts'
import type { Block } from '../../headers/block.ts'
import type { RouteEntry } from '../../headers/route-entry.ts'
import type { Refusals } from './refusals.ts'
import type { Tenants } from './tenants.ts'

/** What the hooks share. */
export interface Parts {
  /** The entry of routes without a rule, and of requests without a route. */
  readonly base: RouteEntry
  /** The entries of routes with a rule. */
  readonly rules: RouteRules<RouteEntry>
  /** `null`: no tenant has a policy of its own. */
  readonly tenants: Tenants | null
  readonly cors: CompiledCors | null
  readonly securityEvents: SecurityEvents
  readonly principalOf: (request: FastifyRequest) => Principal | null
  /** Whether a request without a principal shows a login that this plugin does not know. */
  readonly hasLogin: (request: FastifyRequest) => boolean
  /** Whether the request came over http, as far as the app can know. */
  readonly isPlainHttp: (request: FastifyRequest) => boolean
  /** Known once the app is ready. */
  readonly middleware: { readonly isPresent: boolean }
  /** Suppresses repetitions of the events of refused requests. */
  readonly refusals: Refusals
}

/** The entry of a request's route. */
export function entryOf(request: FastifyRequest, { base, rules }: Parts): RouteEntry {
  const entry = rules.of(request.routeOptions)
  return entry === undefined || entry === missedRoute ? base : entry
}

/** The header block of a request: that of its tenant, or that of its route. */
export function blockOf(request: FastifyRequest, parts: Parts): Block {
  return parts.tenants?.blockOf(request) ?? entryOf(request, parts).block
}
