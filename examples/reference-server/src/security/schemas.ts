/** The schemas of the routes under `/security`. */
import { Type } from '@sinclair/typebox'
import { closedObject, emptyBody, IdParams, problems, singleLineText } from '../http/schemas.ts'
import { ContainmentQuery, total } from './containment-page.ts'

const tags = ['security']
const time = Type.String({ format: 'date-time' })
const Mode = Type.Unsafe<'shadow' | 'alert' | 'enforce'>(
  Type.String({ enum: ['shadow', 'alert', 'enforce'] }),
)
const Subject = closedObject({
  address: Type.Optional(Type.String()),
  principalId: Type.Optional(Type.String()),
})
const Anomaly = closedObject({
  id: Type.String(),
  time,
  rule: Type.String(),
  label: Type.String({ description: 'What it looks like: brute_force, scanning, …' }),
  severity: Type.String(),
  mode: Mode,
  subject: Subject,
})
const Rule = closedObject({
  name: Type.String(),
  mode: Mode,
  detections: Type.Integer({ description: 'Signals that exceeded the rule, since the start' }),
  anomalies: Type.Integer(),
  clients: Type.Integer({ description: 'Different clients that exceeded it' }),
  requests: Type.Integer({ description: 'All requests since the start' }),
})
const Containment = closedObject({
  id: Type.String(),
  kind: Type.String(),
  target: Type.String({ description: 'address:…, principal:… or service' }),
  until: time,
  reason: Type.String(),
})

/** The body that blocks an address. */
const NewBlock = closedObject({
  address: Type.String({ maxLength: 64, description: 'An address or a CIDR block' }),
  reason: singleLineText(200, 'For the audit log'),
  ttlSeconds: Type.Optional(Type.Integer({ minimum: 1, maximum: 2_592_000 })),
})
const RuleParams = closedObject({ name: Type.String({ pattern: '^[a-z][a-z0-9-]{0,63}$' }) })
const listOf = (item: ReturnType<typeof closedObject>) => closedObject({ items: Type.Array(item) })

/** One schema for each route. */
export const securityRoutes = {
  listAnomalies: {
    operationId: 'listAnomalies',
    summary: 'List the anomalies of the last day, the oldest first',
    tags,
    response: { 200: listOf(Anomaly), ...problems },
  },
  explainAnomaly: {
    operationId: 'explainAnomaly',
    summary: 'Explain an anomaly in sentences',
    tags,
    params: IdParams,
    response: { 200: closedObject({ sentences: Type.Array(Type.String()) }), ...problems },
  },
  judgeAnomaly: {
    operationId: 'judgeAnomaly',
    summary: 'Say whether an anomaly was one; a false one is undone',
    tags,
    params: IdParams,
    body: closedObject({
      verdict: Type.Unsafe<'false-positive' | 'true-positive'>(
        Type.String({ enum: ['false-positive', 'true-positive'] }),
      ),
    }),
    response: { 200: closedObject({ lifted: Type.Integer() }), ...problems },
  },
  listRules: {
    operationId: 'listRules',
    summary: 'List the rules, and what each has done or would have done',
    tags,
    response: { 200: listOf(Rule), ...problems },
  },
  setRuleMode: {
    operationId: 'setRuleMode',
    summary: 'Let a rule record, alert or contain',
    tags,
    params: RuleParams,
    body: closedObject({ mode: Mode }),
    response: { 204: emptyBody('The mode is set'), ...problems },
  },
  listContainments: {
    operationId: 'listContainments',
    summary: 'List what is in force, the newest first',
    tags,
    querystring: ContainmentQuery,
    response: { 200: closedObject({ items: Type.Array(Containment), total }), ...problems },
  },
  blockAddress: {
    operationId: 'blockAddress',
    summary: 'Block an address or a CIDR block',
    tags,
    body: NewBlock,
    response: { 201: Containment, ...problems },
  },
  liftContainment: {
    operationId: 'liftContainment',
    summary: 'End a containment before its time',
    tags,
    params: IdParams,
    response: { 204: emptyBody('It has ended'), ...problems },
  },
} as const
