/** What the files of the routes share. */
import type { FastifyRequest } from 'fastify'
import type { Incident } from '../incidents/incident.ts'
import { transitionsOf } from '../incidents/transitions.ts'
import type { Program } from '../playbooks/program.ts'
import type { Incidents } from '../service/incidents-api.ts'
import type { Feeds } from './feed.ts'

/** What the routes need. */
export interface RouteParts {
  readonly incidents: Incidents
  readonly feeds: Feeds
  readonly programs: ReadonlyMap<string, Program>
}

interface Guarded {
  readonly bodyLimit: number
  readonly config: object
  readonly preHandler: Hook
}

/** What every route gets: the guard of its kind, and who acts. */
export interface Routes extends RouteParts {
  readonly reading: Guarded
  readonly writing: Guarded
  readonly by: (request: FastifyRequest, note?: string) => { by: string; note: string | undefined }
}

/** A hook that refuses by an error. */
export type Hook = (request: FastifyRequest) => Promise<void>

export type IdParams = { Params: { id: string } }

/** An incident as it is answered. Members outside the schema would be reported as leaks by input-guard. */
export function show(incident: Incident) {
  const { fingerprints: _fingerprints, responded: _responded, ...shown } = incident
  return { ...shown, transitions: transitionsOf(incident) }
}
