/** Guarded routes for people: the queue of incidents, and what can be done with one. */
import { acceptEmptyBody, withDeadline, type Clock } from '@parapet/kit'
import type { FastifyPluginAsync, FastifyRequest } from 'fastify'
import {
  PARAPET_INCIDENT_RESPONSE_FORBIDDEN,
  PARAPET_INCIDENT_RESPONSE_NOT_GUARDED,
  PARAPET_INCIDENT_RESPONSE_TIMEOUT,
} from '../errors.ts'
import { addChangeRoutes } from './change-routes.ts'
import { addListRoutes, addOverviewRoutes } from './list-routes.ts'
import { addPlaybookRoutes } from './playbook-routes.ts'
import { addReadRoutes } from './read-routes.ts'
import type { Hook, RouteParts } from './route-parts.ts'
import { addRunRoutes } from './run-routes.ts'
import { personOf } from '../service/texts.ts'

/** What a request wants to do. */
export type IncidentAccess = 'read' | 'write'

/** Options of the routes, besides Fastify's `prefix`. */
export interface IncidentRoutesOptions {
  /** Whether the caller may read, or also act. Any result but `true` is answered with 403. */
  readonly guard: (request: FastifyRequest, access: IncidentAccess) => boolean | Promise<boolean>
  /** Who acts, for the timeline. @default the id of `request.principal`, else `unknown` */
  readonly actor?: (request: FastifyRequest) => string
  /** Route config for every route, for instance the rule of another plugin, by what the route does. */
  readonly config?: (access: IncidentAccess) => Readonly<Record<string, unknown>>
}

/** Bodies are read before the guard asks: many apps find the caller in preHandler. */
const MAX_BODY_BYTES = 65_536

/** How long the guard may take. */
interface GuardDeadline {
  readonly deadlineMs: number
  readonly clock: Clock
}

/** Makes the plugin behind `app.incidents.routes`. */
export function createRoutes(
  parts: RouteParts,
  deadline: GuardDeadline,
): FastifyPluginAsync<IncidentRoutesOptions> {
  return async function incidentRoutes(app, { guard, config = () => ({}), actor = actorOf }) {
    if (typeof guard !== 'function') throw new PARAPET_INCIDENT_RESPONSE_NOT_GUARDED()
    app.addHook('onRequest', async (_request, reply) => {
      reply.header('cache-control', 'no-store')
    })
    app.addHook('onRequest', acceptEmptyBody)
    const reading = {
      bodyLimit: MAX_BODY_BYTES,
      config: config('read'),
      preHandler: guardOf(guard, 'read', deadline),
    }
    const writing = {
      bodyLimit: MAX_BODY_BYTES,
      config: config('write'),
      preHandler: guardOf(guard, 'write', deadline),
    }
    const by = (request: FastifyRequest, note?: string) => ({ by: personOf(actor(request)), note })
    const routes = { ...parts, reading, writing, by }
    addListRoutes(app, routes)
    addOverviewRoutes(app, routes)
    addPlaybookRoutes(app, routes)
    addReadRoutes(app, routes)
    addChangeRoutes(app, routes)
    addRunRoutes(app, routes)
  }
}

function guardOf(
  guard: IncidentRoutesOptions['guard'],
  access: IncidentAccess,
  { deadlineMs, clock }: GuardDeadline,
): Hook {
  const late = () => new PARAPET_INCIDENT_RESPONSE_TIMEOUT('guard of the routes', deadlineMs)
  return async (request) => {
    const asked = (async () => guard(request, access))()
    const allowed: unknown = await withDeadline(asked, deadlineMs, late, clock)
    if (allowed !== true) throw new PARAPET_INCIDENT_RESPONSE_FORBIDDEN()
  }
}

function actorOf({ principal }: FastifyRequest): string {
  return principal?.id.slice(0, 200).toWellFormed() ?? 'unknown'
}
