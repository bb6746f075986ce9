/** Parts that the schemas of the routes share. */
import { severities } from '../incidents/incident.ts'

const tags = ['incidents']
export const text = { type: 'string', minLength: 1, maxLength: 200 } as const
export const note = { type: 'string', maxLength: 2000 } as const
const time = {
  type: ['integer', 'null'],
  description: 'Milliseconds since the Unix epoch',
} as const
export const severity = { type: 'string', enum: [...severities] } as const
export const type = { type: 'string', maxLength: 64, pattern: '^[a-z][a-z0-9_]{0,63}$' } as const
export const uuid = {
  type: 'string',
  maxLength: 36,
  pattern: '^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$',
} as const
export const name = {
  type: 'string',
  maxLength: 64,
  pattern: '^[A-Za-z][A-Za-z0-9_-]{0,63}$',
} as const
export const nullable = { type: ['string', 'null'] } as const
export const phase = {
  type: 'string',
  enum: ['detection', 'containment', 'eradication', 'recovery', 'lessons_learned'],
} as const

/** A body or a query without other members. */
export function closed(properties: object, required: readonly string[] = []) {
  return { type: 'object', properties, required, additionalProperties: false } as const
}

/** A reply: members are listed, so that nothing else is sent. */
function reply(properties: object) {
  return { type: 'object', properties } as const
}

const problem = {
  type: 'object',
  description: 'The error, as problem details (RFC 9457) or as Fastify writes it.',
  properties: {
    statusCode: { type: 'integer' },
    code: { type: 'string' },
    message: { type: 'string' },
  },
  additionalProperties: true,
} as const
const problems = { '4xx': problem, '5xx': problem } as const
export const free = { type: 'object', additionalProperties: true } as const
const sightings = {
  type: 'array',
  items: reply({ id: { type: 'string' }, count: { type: 'integer' } }),
} as const
const link = reply({ kind: { type: 'string' }, id: { type: 'string' } })

export const incident = reply({
  id: { type: 'string' },
  type: { type: 'string' },
  title: { type: 'string' },
  severity: { type: 'string' },
  phase: { type: 'string' },
  resolution: nullable,
  openedAt: time,
  firstSeenAt: time,
  lastFindingAt: time,
  acknowledgedAt: time,
  acknowledgedBy: nullable,
  containedAt: time,
  recoveredAt: time,
  closedAt: time,
  respondBy: time,
  escalations: { type: 'integer' },
  assignee: nullable,
  findings: { type: 'integer' },
  records: { type: 'integer' },
  principals: sightings,
  addresses: sightings,
  links: { type: 'array', items: link },
  mergedInto: nullable,
  needsPerson: { type: 'integer', description: 'Steps that wait for a person' },
  version: { type: 'integer' },
  transitions: { type: 'array', items: { type: 'string' }, description: 'Phases that can follow' },
})
export const entry = reply({
  seq: { type: 'integer' },
  incidentId: { type: 'string' },
  at: time,
  kind: { type: 'string' },
  by: nullable,
  text: { type: 'string' },
  details: free,
})
const step = reply({
  id: { type: 'string' },
  phase: { type: 'string' },
  kind: { type: 'string' },
  title: { type: 'string' },
  action: nullable,
  state: { type: 'string' },
  attempts: { type: 'integer' },
  startedAt: time,
  endedAt: time,
  dueAt: time,
  by: nullable,
  summary: nullable,
  error: nullable,
})
export const run = reply({
  id: { type: 'string' },
  incidentId: { type: 'string' },
  playbook: { type: 'string' },
  kind: { type: 'string' },
  state: { type: 'string' },
  startedAt: time,
  endedAt: time,
  by: nullable,
  steps: { type: 'array', items: step },
})
export const listOf = (items: object) =>
  reply({ items: { type: 'array', items }, cursor: nullable })

export const byId = closed({ id: uuid }, ['id'])
export const byName = closed({ name }, ['name'])
export const byRun = closed({ id: uuid, runId: uuid }, ['id', 'runId'])

/** The schema of a route. @param operationId its name in OpenAPI */
export function route(
  operationId: string,
  summary: string,
  parts: object,
  response: object = { 200: incident },
) {
  return { operationId, tags, summary, ...parts, response: { ...response, ...problems } }
}
