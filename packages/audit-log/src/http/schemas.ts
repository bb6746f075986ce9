/** Schemas of the routes, also for OpenAPI generators. */

const plainText = { 'text/plain': { schema: { type: 'string' } } } as const
const text = { type: 'string', maxLength: 1024 } as const
const time = {
  description: 'Milliseconds since the Unix epoch, or an ISO 8601 date or time with its zone.',
  anyOf: [
    { type: 'integer', minimum: 0 },
    { type: 'string', maxLength: 40, pattern: '^\\d{4}-\\d\\d-\\d\\d' },
  ],
} as const
const tags = ['audit']

/** The error reply; with kit's error handler, problem details. @see RFC 9457 */
const problem = {
  type: 'object',
  description: 'The error, as problem details (RFC 9457) or as Fastify writes it.',
  // Fastify's own error handler passes the error, whose members are written only if they are named.
  properties: {
    statusCode: { type: 'integer' },
    code: { type: 'string' },
    message: { type: 'string' },
  },
  additionalProperties: true,
} as const
const problems = { '4xx': problem, '5xx': problem } as const

/** No `additionalProperties: false`: Fastify would remove a misspelt filter and return too much; `readFilter` refuses it. */
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
  summary: 'List audit records, newest first',
  description: 'Returns one page of matching records. The read is recorded.',
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
  summary: 'Export all matching audit records',
  description: 'Streams records, newest first, as NDJSON or CSV. The export is recorded.',
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
      description: 'One record per line.',
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
  summary: 'Prove that a record is in the log',
  description:
    'Returns the inclusion proof and the signed checkpoint (RFC 9162). The read is recorded.',
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
  summary: 'Get the latest signed checkpoint',
  description: 'Returns a C2SP tlog-checkpoint as text.',
  response: { 200: { description: 'The text', content: plainText }, ...problems },
} as const

/** `GET /cosigned` */
export const cosignedSchema = {
  operationId: 'getAuditCosignedCheckpoint',
  tags,
  summary: 'Get the latest checkpoint that the witness cosigned',
  description: 'Returns a C2SP tlog-checkpoint with a tlog-cosignature as text.',
  response: { 200: { description: 'The text', content: plainText }, ...problems },
} as const

/** `GET /key` */
export const keySchema = {
  operationId: 'getAuditVerifierKey',
  tags,
  summary: 'Get the public key of the log',
  description: 'Returns the key as `audit-log verify --key` takes it.',
  response: { 200: { description: 'The text', content: plainText }, ...problems },
} as const

/** `GET /tile/*` */
export const tileSchema = {
  operationId: 'getAuditTile',
  tags,
  summary: 'Get a tile or an entry bundle',
  description:
    'Returns bytes in the layout of C2SP tlog-tiles. Reading an entry bundle is recorded.',
  params: { type: 'object', properties: { '*': { type: 'string', maxLength: 128 } } },
  response: {
    200: {
      description: 'The hashes or entries.',
      content: { 'application/octet-stream': { schema: { type: 'string', format: 'binary' } } },
    },
    ...problems,
  },
} as const
