/** The schemas of the routes; an OpenAPI generator reads them too. */

const text = { type: 'string', maxLength: 1024 } as const
const time = { type: 'integer', minimum: 0 } as const
const tags = ['audit']

/** What the app's error handler answers; RFC 9457 with kit's. */
const problem = {
  type: 'object',
  description: 'Problem details',
  additionalProperties: true,
} as const
const problems = { '4xx': problem, '5xx': problem } as const

/** Members that are not here are refused by the query itself: Fastify would drop them, and show more than was asked for. */
const filters = {
  action: { type: 'string', maxLength: 200, pattern: '^[a-z0-9_.]*\\*?$' },
  principal: text,
  session: text,
  tenant: text,
  ip: text,
  resource: text,
  resourceId: text,
  requestId: text,
  result: { type: 'string', enum: ['success', 'failure', 'unknown'] },
  since: time,
  until: time,
} as const

/** `GET /events` */
export const eventsSchema = {
  operationId: 'listAuditRecords',
  tags,
  summary: 'Records, newest first',
  querystring: {
    type: 'object',
    properties: {
      ...filters,
      cursor: { type: 'string', pattern: '^\\d{1,15}$' },
      limit: { type: 'integer', minimum: 1, maximum: 500, default: 50 },
    },
  },
  response: {
    200: {
      type: 'object',
      properties: {
        entries: {
          type: 'array',
          items: {
            type: 'object',
            properties: {
              index: { type: 'integer' },
              record: { type: 'object', additionalProperties: true },
            },
          },
        },
        cursor: { type: ['string', 'null'] },
      },
    },
    ...problems,
  },
} as const

/** `GET /export` */
export const exportSchema = {
  operationId: 'exportAuditRecords',
  tags,
  summary: 'All matching records, newest first',
  querystring: {
    type: 'object',
    properties: {
      ...filters,
      format: { type: 'string', enum: ['ndjson', 'csv'], default: 'ndjson' },
      proofs: { type: 'boolean', default: false },
    },
  },
  response: {
    200: {
      description: 'One record a line',
      content: {
        'application/x-ndjson': { schema: { type: 'string' } },
        'text/csv': { schema: { type: 'string' } },
      },
    },
    ...problems,
  },
} as const

/** `GET /proof/:id` */
export const proofSchema = {
  operationId: 'proveAuditRecord',
  tags,
  summary: 'The proof that a record is in the log',
  params: {
    type: 'object',
    required: ['id'],
    properties: { id: { type: 'string', pattern: '^[0-9a-f-]{36}$' } },
  },
  response: {
    200: {
      type: 'object',
      properties: {
        index: { type: 'integer' },
        leaf: { type: 'string' },
        proof: { type: 'array', items: { type: 'string' } },
        checkpoint: { type: 'string' },
      },
    },
    ...problems,
  },
} as const

/** `GET /checkpoint` */
export const checkpointSchema = {
  operationId: 'getAuditCheckpoint',
  tags,
  summary: 'The latest signed checkpoint',
  response: { 200: { type: 'string' }, ...problems },
} as const

/** `GET /tile/*` */
export const tileSchema = {
  operationId: 'getAuditTile',
  tags,
  summary: 'A tile or entry bundle, as C2SP tlog-tiles has it',
  params: { type: 'object', properties: { '*': { type: 'string', maxLength: 128 } } },
  response: problems,
} as const
