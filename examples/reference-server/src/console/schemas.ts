/** The schemas of the routes of the console. */
import { Type } from '@sinclair/typebox'
import { closedObject, emptyBody, problems } from '../http/schemas.ts'
import { ContainmentQuery, total } from '../security/containment-page.ts'

const tags = ['console']
const ms = Type.Integer({ description: 'Milliseconds since the Unix epoch' })
const latency = Type.Union([Type.Number(), Type.Null()], { description: 'Milliseconds' })
const openObject = Type.Object({}, { additionalProperties: true })
const texts = Type.Array(Type.String())
const Severity = Type.Unsafe<'info' | 'low' | 'medium' | 'high' | 'critical'>(
  Type.String({ enum: ['info', 'low', 'medium', 'high', 'critical'] }),
)
const Filter = {
  severity: Type.Optional(Severity),
  source: Type.Optional(Type.String({ maxLength: 32, pattern: '^[a-z][a-z_]*$' })),
  outcome: Type.Optional(
    Type.Unsafe<'success' | 'failure' | 'unknown'>(
      Type.String({ enum: ['success', 'failure', 'unknown'] }),
    ),
  ),
}
const Minute = closedObject({
  time: ms,
  answered: Type.Integer(),
  refused: Type.Integer(),
  failed: Type.Integer(),
  anomalies: Type.Integer(),
  alarms: Type.Integer(),
  p50: latency,
  p95: latency,
  p99: latency,
})
const Session = closedObject({
  id: Type.String(),
  startedAt: ms,
  lastSeenAt: ms,
  expiresAt: ms,
  amr: texts,
  label: Type.Optional(Type.String({ description: 'The name that the user gave it' })),
  ip: Type.Optional(Type.String()),
  userAgent: Type.Optional(Type.String()),
})
const userId = Type.String({ format: 'uuid' })

/** One schema for each route. */
export const consoleRoutes = {
  me: {
    operationId: 'getConsoleUser',
    summary: 'Who uses the console, and what they may do there',
    tags,
    response: {
      200: closedObject({
        id: Type.String(),
        sessionId: Type.Union([Type.String(), Type.Null()]),
        roles: texts,
        permissions: texts,
        parts: texts,
        serverTime: ms,
        recordingSince: ms,
      }),
      ...problems,
    },
  },
  events: {
    operationId: 'listSecurityEvents',
    summary: 'List the latest security events, newest first',
    tags,
    querystring: closedObject({
      ...Filter,
      limit: Type.Integer({ minimum: 1, maximum: 500, default: 200 }),
    }),
    response: { 200: closedObject({ items: Type.Array(openObject) }), ...problems },
  },
  stream: {
    operationId: 'streamSecurityEvents',
    summary: 'Follow security events and counters as server-sent events',
    tags,
    querystring: closedObject(Filter),
    response: {
      200: {
        description: 'Events named `events`, `minute` and `end`, with JSON as data',
        content: { 'text/event-stream': { schema: Type.String() } },
      },
      ...problems,
    },
  },
  counters: {
    operationId: 'getConsoleCounters',
    summary: 'Requests, refusals, failures, anomalies and latencies by minute',
    tags,
    response: { 200: closedObject({ since: ms, minutes: Type.Array(Minute) }), ...problems },
  },
  anomalies: {
    operationId: 'listExplainedAnomalies',
    summary: 'List the anomalies of the last day with their evidence, newest first',
    tags,
    response: {
      200: closedObject({
        items: Type.Array(openObject),
        learning: Type.Union([Type.String(), Type.Null()]),
        isShared: Type.Boolean(),
      }),
      ...problems,
    },
  },
  containments: {
    operationId: 'listContainmentDetails',
    summary: 'List what is in force, who ordered it, and why, the newest first',
    tags,
    querystring: ContainmentQuery,
    response: { 200: closedObject({ items: Type.Array(openObject), total }), ...problems },
  },
  access: {
    operationId: 'getAccessMatrix',
    summary: 'Show every route against every role',
    tags,
    response: {
      200: closedObject({
        policyDigest: Type.String(),
        revision: Type.Integer(),
        roles: texts,
        permissions: texts,
        rows: Type.Array(
          closedObject({
            method: Type.String(),
            url: Type.String(),
            rule: Type.String(),
            anonymous: Type.String(),
            roles: Type.Record(Type.String(), Type.String()),
          }),
        ),
      }),
      ...problems,
    },
  },
  explain: {
    operationId: 'explainAccess',
    summary: 'Explain why a role has a permission or not',
    tags,
    querystring: closedObject({
      role: Type.String({ maxLength: 64, pattern: '^[a-z][a-z0-9_-]*$' }),
      permission: Type.String({ maxLength: 128, pattern: '^[a-z][a-z0-9_:.-]*$' }),
    }),
    response: {
      200: closedObject({
        allowed: Type.Boolean(),
        reason: Type.String(),
        text: Type.String(),
        grants: Type.Array(openObject),
        denies: Type.Array(openObject),
        nearestMisses: texts,
      }),
      ...problems,
    },
  },
  sessions: {
    operationId: 'listUserSessions',
    summary: 'List the sessions of a user',
    tags,
    params: closedObject({ id: userId }),
    response: { 200: closedObject({ items: Type.Array(Session) }), ...problems },
  },
  endSession: {
    operationId: 'endUserSession',
    summary: 'End a session of a user',
    tags,
    params: closedObject({
      id: userId,
      session: Type.String({ maxLength: 64, pattern: '^[\\w-]+$' }),
    }),
    response: { 204: emptyBody('The session has ended'), ...problems },
  },
  keys: {
    operationId: 'getKeyStatus',
    summary: 'Show the state of keys, secrets, jobs and the audit log',
    tags,
    response: { 200: openObject, ...problems },
  },
} as const
