/** Schemas of the challenge routes: plain JSON Schema, and the types that they promise. */

export interface PageQuery {
  readonly next?: string
  readonly failed?: string
}

export interface AnswerBody {
  readonly altcha: string
  readonly next?: string
}

const next = { type: 'string', maxLength: 2000, description: 'The local path to go on to' }
const tags = ['challenge']
// Without a login, and the page must be reachable by a client that is contained.
const open = { anomaly: { watch: false, inspect: false } } as const
const member = { type: 'string' }
/** An error, in the form of Fastify's default error handler or of RFC 9457. */
const problem = {
  type: 'object',
  properties: {
    code: { ...member, description: 'PARAPET_ANOMALY_GUARD_…' },
    statusCode: { type: 'integer' },
    error: member,
    message: member,
    title: member,
    detail: member,
  },
  additionalProperties: true,
  description: 'The error',
}
const problems = { '4xx': problem, '5xx': problem }

/** One entry for each kind of route. */
export const challengeSchemas = {
  page: {
    config: open,
    schema: {
      operationId: 'challengePage',
      summary: 'The page of the challenge',
      tags,
      querystring: {
        type: 'object',
        properties: { next, failed: { type: 'string', enum: ['1'] } },
      },
      response: {
        200: { description: 'The page', content: { 'text/html': { schema: { type: 'string' } } } },
        ...problems,
      },
    },
  },
  file: {
    config: open,
    schema: {
      summary: 'A file of the page',
      tags,
      hide: true,
      querystring: { type: 'object', additionalProperties: true },
    },
  },
  create: {
    config: open,
    schema: {
      operationId: 'challengeCreate',
      summary: 'A new challenge for this client',
      tags,
      response: {
        200: {
          type: 'object',
          additionalProperties: true,
          description: 'The challenge, as the widget of ALTCHA reads it',
        },
        ...problems,
      },
    },
  },
  answer: {
    config: open,
    schema: {
      operationId: 'challengeAnswer',
      summary: 'Answers a challenge and gives a pass',
      tags,
      consumes: ['application/x-www-form-urlencoded'],
      body: {
        type: 'object',
        required: ['altcha'],
        properties: {
          altcha: { type: 'string', maxLength: 4096, description: 'The answer, base64' },
          next,
        },
      },
      response: {
        200: {
          type: 'object',
          required: ['pass', 'expiresInMs'],
          properties: {
            pass: { type: 'string', description: 'For the header `challenge-pass`' },
            expiresInMs: { type: 'integer' },
          },
        },
        303: { type: 'null', description: 'For forms: goes on to `next`, or back to the page' },
        ...problems,
      },
    },
  },
} as const
